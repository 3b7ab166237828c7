"""Results out: the peers, what they answer, and who brings the results to them."""
