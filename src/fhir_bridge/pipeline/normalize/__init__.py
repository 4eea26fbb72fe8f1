"""Normalize: R4 in, R4 out; one id, one patient, one copy of everything, an end for each row."""

from fhir_bridge.pipeline.normalize.normalizing import normalize

__all__ = ["normalize"]
