"""The report of an evaluation: chapters, figures, and the values that the paper published."""
