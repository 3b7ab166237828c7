"""Results to tables, for the terminal and for docs/performance.md. Pure functions."""
