"""Every (anchor, positive, negative) of an edition with its hardness, and the samplers' index.

No texts, no random choice, no model: all of it follows from distances and cross-references.
Data flows descriptions + distances -> SQL tables -> triplets.parquet and RelationIndex.
"""
