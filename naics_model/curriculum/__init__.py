"""What a training step sees: stages, sampled items, and pools of codes that many items share.

No texts, no tensors, no model: everything here is NumPy on code indices.
Data flows RelationIndex + Stage -> eligible pairs -> TripletBatch or PooledBatch; `supply` tells
what an edition has for a stage, and `naics curriculum` shows it.
"""
