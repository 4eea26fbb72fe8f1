"""fhir-bridge: records in from treating hospitals, one case record, the opinion back in the chart."""

__version__ = "0.1.0"
