"""
Reading and writing the standards, without any I/O.

Room: standards. Floor: above case and tables. Imports case, tables, errors.
"""
