"""A model that runs in the visitor's browser: its scripts, and what they need of a model and of an extraction."""
