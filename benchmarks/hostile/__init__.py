"""Films that somebody made to hurt, built byte by byte."""
