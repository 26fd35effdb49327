"""Fuses what a trained model says of a phrase into one ranking of the six-digit codes.

Order of the modules: `known` reads the phrases that may be used, `signals` scores codes by each
signal, `weights` fits how much each counts.
"""
