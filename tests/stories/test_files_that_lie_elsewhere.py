"""Presigned files: fetched where the operator says so, and never shown a login."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fhir_bridge.bridge import Bridge
from fhir_bridge.case.case import Auth, TreatingProvider
from fhir_bridge.case.certificate import COMPLETE
from fhir_bridge.security.access import LOCAL
from fhir_bridge.service import serving
from fhir_bridge.settings import Settings
from fhir_bridge.simulators.hospital import RunningHospital
from fhir_bridge.standards.fhir import json
from fhir_bridge.steps.hospitals import secret_purpose

DOCUMENT = "DocumentReference"


def line(bridge: Bridge, patient: dict[str, Any], provider: str) -> dict[str, Any]:
    case = bridge.new_case(LOCAL, patient, "oncology", "Is it so?", [provider])
    bridge.engine.result(bridge.begin_pull(LOCAL, case, None))
    return next(one for one in bridge.certificate(case) if one["type"] == DOCUMENT)


@pytest.mark.parametrize("fault", ["attachment-presigned", "attachment-presigned-stale"])
def test_a_presigned_file_comes_without_our_login_and_only_where_allowed(
    fault: str, tmp_path: Path, small_case: Path, hospital: Callable[..., RunningHospital]
) -> None:
    urls = hospital(fault, only="ehr").urls
    foreign = urlsplit(str(urls["foreign"]))
    patient = json.load_object((small_case / "patient.json").read_bytes())
    with serving(Settings.load(data=tmp_path, port=0, dimse_port=0, log_level="ERROR")) as bridge:
        secret = bridge.seal.seal(b"not for strangers", secret_purpose("general"))
        provider = TreatingProvider(
            "general", "General", fhir=str(urls["fhir"]), auth=Auth.BASIC, client_id="us",
            secret=secret,
        )  # fmt: skip
        bridge.add_provider(provider)
        unseen = line(bridge, patient, "general")
        assert (unseen["grade"], unseen["attachments"]["failed"]) == ("short", 1)

        bridge.add_provider(replace(provider, file_origins=(f"http://{foreign.netloc}",)))
        seen = line(bridge, patient, "general")
        assert seen["grade"] in COMPLETE
        assert seen["attachments"]["failed"] == 0

    with urllib.request.urlopen(f"{urls['control']}/foreign") as answer:
        told = json.loads(answer.read())
    assert told["visits"]
    assert told["authorization"] is False
