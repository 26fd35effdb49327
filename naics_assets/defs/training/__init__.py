"""The text model in three stages, each a job of its own, and the embeddings it gives."""
