"""Tools of the graph's edge: paths, MLflow runs, job processes, and the words for what came out.

Used by the assets; defines none. Nothing below `defs/` is imported from here.
"""
