"""Models trained to be measured: under a protocol, in both geometries, with several seeds.

What a protocol hides is decided in `protocols`, how a model is trained in `training`, what is
measured in `evaluation`; here they are put in a row. Data flows view -> stages -> embeddings ->
figures -> their means.
"""
