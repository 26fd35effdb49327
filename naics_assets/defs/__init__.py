"""The graph itself, one folder for each group of assets; each is found and loaded by its place."""
