"""Heatmaps, dials and the table: choose components and set the edit."""
