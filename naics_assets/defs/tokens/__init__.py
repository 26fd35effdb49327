"""Token ids of every text channel, made once for a backbone's tokenizer."""
