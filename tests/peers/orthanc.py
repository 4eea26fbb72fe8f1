"""Orthanc with its DICOMweb plugin: the treating hospital's PACS."""

from __future__ import annotations

import http.client
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import simplejson

from .dcmtk import Node
from .fhir_server import Answer, request
from .peer import LOOPBACK, PeerFailed, answers, free_port, listens, need, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROGRAM = Path("/usr/sbin/Orthanc")
DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass(frozen=True, slots=True)
class Modality:
    """
    A DICOM node that Orthanc may send to, by AE title, host and port.

    `gets` False refuses its C-GET, where Orthanc runs with `DicomAlwaysAllowGet=False`.
    """

    aet: str
    port: int
    host: str = LOOPBACK
    gets: bool = True


@dataclass(frozen=True, slots=True)
class Orthanc:
    """A running Orthanc; urls have no slash at their end."""

    url: str
    dicomweb: str
    dimse_port: int
    aet: str = "ORTHANC"
    host: str = LOOPBACK

    @property
    def node(self) -> Node:
        """Where its DICOM server is, for an SCU."""
        return Node(self.aet, self.dimse_port, self.host)

    def upload(self, folder: Path) -> list[str]:
        """Store every file of the folder (Part 10), recursively; returns Orthanc's instance IDs."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return [str(self.store(path.read_bytes())["ID"]) for path in files]

    def store(self, part10: bytes) -> Mapping[str, Any]:
        """Store one Part 10 file; returns Orthanc's own account of it."""
        answer = self.ask("POST", "/instances", part10)
        return dict(answer.json())

    def add_modality(self, name: str, modality: Modality) -> None:
        """Make a DICOM node known under this name, for push and for C-MOVE to its AE title."""
        row = {
            "AET": modality.aet,
            "Host": modality.host,
            "Port": modality.port,
            "AllowGet": modality.gets,
        }
        self.ask("PUT", f"/modalities/{name}", simplejson.dumps(row).encode())

    def push(self, study_uid: str, name: str) -> Mapping[str, Any]:
        """C-STORE a whole study to a known node and wait for the end of it."""
        found = self.ask("POST", "/tools/lookup", study_uid.encode()).json()
        studies = [row["ID"] for row in found if row["Type"] == "Study"]
        if not studies:
            raise PeerFailed("Orthanc holds no study with this Study Instance UID")
        order = {"Resources": studies, "Synchronous": True}
        pushed = self.ask("POST", f"/modalities/{name}/store", simplejson.dumps(order).encode())
        return dict(pushed.json())

    def clear(self) -> None:
        """Forget every patient and every known node."""
        for kind in ("patients", "modalities"):
            for name in self.ask("GET", f"/{kind}").json():
                self.ask("DELETE", f"/{kind}/{name}")

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """One REST request; PeerFailed on any status but 200."""
        answer = request(method, self.url + path, body)
        if answer.status != http.client.OK:
            raise PeerFailed(f"Orthanc: {method} {path}: {answer.status} {answer.body[:500]!r}")
        return answer


@contextmanager
def serving(
    folder: Path, modalities: Mapping[str, Modality] | None = None, **changed: object
) -> Iterator[Orthanc]:
    """
    Run Orthanc on free ports with its own storage in the folder; it knows these nodes.

    Keywords are settings of Orthanc's own, for instance `DicomAlwaysAllowGet=False`.
    """
    need("orthanc", PROGRAM, DICOMWEB_PLUGIN)
    http_port, dimse_port = free_port(), free_port()
    url = f"http://{LOOPBACK}:{http_port}"
    config = folder / "orthanc.json"
    settings = _settings(folder, http_port, dimse_port, modalities or {})
    config.write_text(simplejson.dumps({**settings, **changed}))
    # Without TCP_NODELAY the DICOM toolkit under Orthanc waits 40 ms for every message.
    with running(
        [PROGRAM, config],
        folder / "orthanc.log",
        ready=lambda: answers(f"{url}/system") and listens(dimse_port),
        env={"TCP_NODELAY": "1"},
        ended_by=signal.SIGKILL,  # by itself it needs 5 s to leave, and nothing of it is kept
    ):
        yield Orthanc(url, f"{url}/dicom-web", dimse_port)


def _settings(
    folder: Path, http_port: int, dimse_port: int, modalities: Mapping[str, Modality]
) -> dict[str, Any]:
    return {
        "Name": "treating hospital",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(DICOMWEB_PLUGIN)],
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": "ORTHANC",
        "DicomPort": dimse_port,
        "DicomCheckCalledAet": False,
        "DicomCheckModalityHost": False,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {
            name: [one.aet, one.host, one.port] for name, one in modalities.items()
        },
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "StableAge": 1,
    }
