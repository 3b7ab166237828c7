"""Work on films: what is taken becomes results, and embeddings go into the archive."""
