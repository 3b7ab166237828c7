"""Commands for who runs this for others: is everything well, and what does a code mean."""
