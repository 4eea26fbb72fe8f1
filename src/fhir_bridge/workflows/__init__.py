"""
The durable order of the stages: what is a step, what is retried, what is resumed.

The only room that knows dbos. Bodies are deterministic (no clock, no chance, no I/O, no reads);
inputs and outputs are ids and counters; expected failures are return values; every step finds out
by itself what is done already, because a step that was killed between its own commit and the
engine's record runs again.
"""

from fhir_bridge.workflows.engine import Engine
from fhir_bridge.workflows.ports import APPLICATION_VERSION, deliver_id, pull_id
from fhir_bridge.workflows.serializer import OurJson

__all__ = ["APPLICATION_VERSION", "Engine", "OurJson", "deliver_id", "pull_id"]
