"""Open a recipe, a direction or an edit from a file."""
