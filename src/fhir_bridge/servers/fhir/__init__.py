"""
What portals read by FHIR: case records, their files, and our tables as ConceptMaps.

Room: servers/fhir. It imports store, security, standards and case, never another server.
"""

from __future__ import annotations

from fhir_bridge.servers.fhir.api import make_router

__all__ = ["make_router"]
