"""Embeddings refined along the tree by a hyperbolic graph convolution."""
