"""The node over HTTP: films by STOW-RS in; health, metrics, results and drift out."""
