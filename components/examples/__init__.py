"""One's own examples: read, corrected, answered by the model, checked."""
