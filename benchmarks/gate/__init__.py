"""What the admission gate is measured and fitted with: films, foreign images, what is pasted."""
