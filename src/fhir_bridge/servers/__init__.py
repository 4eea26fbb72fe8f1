"""
Systems and people that call us: FHIR, DICOMweb, DIMSE and the nurse's console.

Room: servers. Floor: above pipeline, clients, store and security. The four servers never import
each other; what they share (the web application, its gate, its answers to errors) stands here.
"""
