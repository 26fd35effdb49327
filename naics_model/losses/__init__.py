"""What training asks of the embeddings, one loss a file, each a pure function of tensors.

No weights between losses, no sampling, no model: those are the training's.
Distances, radii and gate probabilities go in, one scalar with a gradient comes out.
"""
