"""Assemble: the case record, a FHIR document whose every sentence can be traced to its source."""

from fhir_bridge.pipeline.assemble.assembling import assemble
from fhir_bridge.pipeline.assemble.checklist import ChecklistItem, checklist
from fhir_bridge.pipeline.assemble.citing import citable
from fhir_bridge.pipeline.assemble.release import release_problems
from fhir_bridge.pipeline.assemble.words import sentence

__all__ = ["ChecklistItem", "assemble", "checklist", "citable", "release_problems", "sentence"]
