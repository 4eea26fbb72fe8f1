"""Terminology: the tables of mappings/, asked for one code at a time, and published as R4."""
