"""The asset graph: what is made from what, for which edition, and how it is checked and described.

An asset calls one function of `naics_model`, or launches one of its jobs as a process, and
describes what came out. No computation lives here, and torch is never imported: the code location
stays light, and a job frees its memory when it ends.
"""
