"""What leaves the project: the embeddings that passed, the encoder, and what was judged of them.

No computation: files are chosen and gathered. Data flows evaluation -> gate -> release folder.
"""
