"""Measure: the search, sweeps, the plot of attribute over utility, the evaluation."""
