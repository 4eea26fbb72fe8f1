"""FHIR R4: JSON that keeps its digits, bundles, references, documents, the judge."""
