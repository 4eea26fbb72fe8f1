"""
The programme's own words: cases, records, ledgers, certificates, opinions, deliveries.

Room: case. Floor: just above settings and errors. Imports the standard library only.
"""
