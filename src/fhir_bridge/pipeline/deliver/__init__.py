"""
Deliver: a signed opinion goes into the treating provider's chart, once, and is read back (TRUTH 5).

`advance` in `steps` takes one step of the ladder; every step may run twice.
"""
