"""Text to tangent vectors: tokens, four LoRA channels over one frozen backbone, fusion, projection.

No sampling, no losses, no training loop: a model that can be called, saved and loaded, and the job
that embeds codes. Data flows descriptions -> token cache -> channels -> fusion -> projection ->
embeddings table.
"""
