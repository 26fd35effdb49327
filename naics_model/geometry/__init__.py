"""Hyperbolic geometry in the Lorentz model, as pure functions on tensors.

No parameters, no modules, no losses, no files: tangent vectors go in, points and distances come
out. Every room above takes its mathematics from here, so that each formula has one place and one
set of tests. Curvature 0 is a value like others: the flat space that the hyperbolic ones tend to.
"""
