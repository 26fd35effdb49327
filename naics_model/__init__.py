"""Lorentz-model embeddings of NAICS codes: every computation, usable with no orchestrator.

Rooms are stacked, and a room imports only from lower ones: storage, jobs, geometry, taxonomy,
corpus, triplets, curriculum, encoder, losses, training, refinement, evaluation. Dagster is never
imported here (`naics_assets` is the graph), and data flows one way: workbooks -> texts ->
distances -> triplets -> model -> embeddings -> report.
"""

__version__ = '0.1.0'
