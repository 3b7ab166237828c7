"""Training with MONAI and Ignite: recipes, run folders, the loop, and what each network adds."""
