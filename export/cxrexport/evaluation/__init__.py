"""The study's evaluation: what trained networks say of films, and whether to believe it."""
