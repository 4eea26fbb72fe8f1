"""Opinion: what the specialist wrote becomes a FHIR document and a letter, both from one text."""
