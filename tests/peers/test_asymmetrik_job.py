"""The whole job against asymmetrik's framework, which answers a create with nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.case.case import TreatingProvider

from . import job

if TYPE_CHECKING:
    from pathlib import Path

    from .fhir_server import FhirServer
    from .validator import Judges


def test_a_case_goes_all_the_way(
    asymmetrik_open: FhirServer, tmp_path: Path, judges: Judges
) -> None:
    chart = job.Chart("oncology")
    with job.running_bridge(tmp_path / "bridge") as bridge:
        bridge.add_provider(TreatingProvider("asymmetrik", "Quirks", fhir=asymmetrik_open.base))
        found = job.whole_job(bridge, chart, asymmetrik_open, "asymmetrik", judges)
    assert found == chart.grades


def test_a_create_is_answered_with_an_empty_body_and_a_relative_location(
    asymmetrik_open: FhirServer,
) -> None:
    made = asymmetrik_open.ask("POST", "/Patient", b'{"resourceType":"Patient"}')
    assert (made.status, made.body) == (201, b"")
    assert made.headers["location"].startswith("4_0_0/Patient/")
