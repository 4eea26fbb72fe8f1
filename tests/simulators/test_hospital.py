"""The hospital as a process: how it starts, what it says, and that it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from fhir_bridge.simulators import service
from fhir_bridge.simulators.hospital import (
    HospitalDidNotStart,
    Options,
    command,
    start_hospital,
)
from fhir_bridge.simulators.wire import read_json

from .small_case import Visit, visiting


def listens(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0


def port_of(url: str | None) -> int:
    return int(urlsplit(str(url)).port or 0)


def test_it_starts_keeps_its_chart_and_leaves_its_ports(case: Path, tmp_path: Path) -> None:
    options = Options(case, tmp_path / "state", open_door=True)
    with (
        start_hospital(options, deadline_seconds=30) as first,
        httpx2.Client(trust_env=False) as http,
    ):
        visit = Visit(dict(first.urls), http)
        assert first.urls["name"] == "General Hospital"
        assert str(first.urls["dimse"]).startswith("GENHOSP@127.0.0.1:")
        assert first.urls["foreign"] is None
        made = visit.post_document().headers["location"]
    assert first.process.returncode == 0
    assert not listens(port_of(first.urls["fhir"]))
    port = port_of(first.urls["fhir"])
    again = Options(case, tmp_path / "state", http_port=port, open_door=True, only="ehr")
    with start_hospital(again, deadline_seconds=30) as second:
        assert port_of(second.urls["fhir"]) == port
        assert (second.urls["dimse"], second.urls["dicomweb"]) == (None, None)
        assert httpx2.get(made, trust_env=False).status_code == 200


def test_it_ends_when_its_parent_dies(case: Path, tmp_path: Path) -> None:
    argv = command(Options(case, tmp_path / "state", open_door=True, only="ehr"))
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; subprocess.run({argv!r})"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    port = port_of(read_json(parent.stdout.readline())["fhir"])
    assert listens(port)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while listens(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not listens(port)


def test_a_port_that_is_taken_gives_way_to_the_next(case: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        hospital = service.build(
            Options(case, tmp_path, http_port=port, dimse_port=port, open_door=True)
        )
        hospital.close()
    assert port_of(hospital.urls["fhir"]) > port
    assert int(str(hospital.urls["dimse"]).rpartition(":")[2]) > port


def test_half_a_hospital_has_half_the_doors(case: Path, tmp_path: Path) -> None:
    with visiting(Options(case, tmp_path, open_door=True, only="pacs")) as visit:
        assert visit.urls["fhir"] is None
        assert visit.get(f"{visit.urls['dicomweb']}/studies").status_code == 200
        assert visit.get(f"{visit.base}/fhir/Patient").status_code == 404


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(Path(), Path("state"), open_door=True, faults=("nonsense",)), "drop-next"),
        (Options(Path(), Path("state")), "--client-id"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(options: Options, words: str) -> None:
    with pytest.raises(HospitalDidNotStart, match=words):
        start_hospital(options, deadline_seconds=30)
