"""The study as one command: splits, cached films, the training of every split, their scores."""
