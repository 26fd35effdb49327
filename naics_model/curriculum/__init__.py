"""What a training step sees of the codes: stages, sampled items, and the plan of negatives.

No texts, no tensors, no model: everything here is NumPy on code indices.
Data flows RelationIndex + Stage -> eligible pairs -> TripletBatch; `supply` tells what an
edition has for a stage, and `naics curriculum` shows it.
"""
