"""
The verbs of the command line, one module a noun.

Room: commands. Floor: under cli, above the composition root. Heavy rooms are imported inside the
functions, so that `--help` answers at once.
"""
