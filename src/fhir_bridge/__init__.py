"""fhir-bridge: records in from treating hospitals, the opinion back into the chart."""

__version__ = "0.1.0"
