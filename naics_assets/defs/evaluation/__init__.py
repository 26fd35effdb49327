"""What the embeddings are worth, measured and shown."""
