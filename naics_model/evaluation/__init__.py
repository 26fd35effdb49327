"""What the embeddings are worth: structure, text retrieval, baselines, and the report about them.

No training and no asset graph: this room reads what other rooms wrote and changes nothing of it.
Data flows embeddings and activities -> distances -> figures by name -> report.
"""
