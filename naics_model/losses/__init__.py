"""What training asks of the embeddings, one loss a file, each a pure function of tensors.

No weights between losses, no sampling, no model: those are the training's.
Distances, radii and gate probabilities go in, one scalar with a gradient comes out. Which space the
distances are of, hyperbolic or flat, is asked only where the formula itself depends on it.
"""
