"""The headline: every way to get a behaviour against every other on held-out prompts, and what README says of it."""
