"""Measured comparisons; ``python -m benchmarks.NAME`` prints a table, and last one line of JSON with the ratios."""
