"""Training triplets with their hardness, and the small index that the sampler reads."""
