"""Predict chest X-ray films on a Triton server and find similar ones. Research use only."""
