"""Pure functions from arrays to figures.

No files, no tables, no models: what is measured, and of what, is said in the rooms above.
"""
