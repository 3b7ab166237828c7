"""From films to a Triton model repository: preprocessing, networks, training, export."""
