"""The PACS on its bad days, by DIMSE and by DICOMweb."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fhir_bridge.simulators import edges
from fhir_bridge.simulators.edges import Answer, Edge, Ending, Next
from fhir_bridge.simulators.faults.fault import Fault, with_rules
from fhir_bridge.simulators.images import Instance

SLOW_IMAGE_SECONDS = 0.05
FORGOTTEN = 2


def _forgets(instances: Sequence[Instance]) -> Sequence[Instance]:
    return instances[:-FORGOTTEN] if len(instances) > FORGOTTEN else ()


def broken_stream() -> Edge:
    """A multipart answer ends in its middle, as if that were its end."""

    async def edge(_ask: edges.Ask, go_on: Next) -> Answer:
        answer = await go_on()
        streamed = dict(answer.headers).get(b"content-type", b"").startswith(b"multipart/")
        return replace(answer, ending=Ending.HALF) if streamed else answer

    return edge


ROWS = (
    Fault("slow-images", "every image takes 50 ms longer", "PACS",
          with_rules(image_delay_seconds=SLOW_IMAGE_SECONDS)),
    Fault("pacs-forgets", f"every retrieve hands out {FORGOTTEN} images fewer than listed", "PACS",
          with_rules(hand_out=_forgets)),
    Fault("no-get", "C-GET is not offered", "PACS", with_rules(offers_get=False)),
    Fault("no-wado", "DICOMweb answers 404", "DICOMweb", reach=edges.dicomweb,
          edge=lambda: edges.refuses(404, "not-found", "nothing here")),
    Fault("wado-broken-stream", "the multipart stream ends in its middle", "DICOMweb",
          reach=edges.dicomweb, edge=broken_stream),
)  # fmt: skip
