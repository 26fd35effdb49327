"""The NAICS tree and what follows from it alone: parents, ancestors, distances, kinship.

No texts, no workbooks, no randomness: everything here is a function of the list of codes.
Data flows codes -> Taxonomy -> distances and relations -> their checks.
"""
