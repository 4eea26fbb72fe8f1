"""
Systems that we call: EHRs by FHIR, imaging archives by DICOMweb and DIMSE, and their logins.

Room: clients. Floor: beside pipeline, store and security; imports standards and below. Only
http.py knows the HTTP library, only dimse.py knows pynetdicom. Everything here blocks and is
called from worker threads; every answer is durable before anybody parses it.
"""
