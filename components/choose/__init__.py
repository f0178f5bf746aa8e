"""Choose a model and a behaviour."""
