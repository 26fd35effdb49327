"""Refinement of the text embeddings by the tree: a hyperbolic graph network and one free vector per
code.

No texts and no backbone here: the job reads finished text embeddings and writes refined ones in the
same space. Data flows text_embeddings.parquet -> graph and network -> refined_embeddings.parquet.
"""
