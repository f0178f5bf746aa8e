"""Texts of the original, edited and steered model side by side."""
