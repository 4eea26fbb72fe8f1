"""Captured answers, put where their vendors gave them: which base has which searches and reads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fhir_bridge.simulators.wire import Resource, read_json, write_json

SEARCHED = frozenset({"DiagnosticReport", "DocumentReference", "ImagingStudy", "ServiceRequest"})
TYPES = {
    ".json": "application/fhir+json", ".jsonc": "application/json", ".xml": "application/xml",
    ".html": "text/html", ".ndjson": "application/fhir+ndjson", ".dcm": "application/dicom",
}  # fmt: skip
BOM = b"\xef\xbb\xbf"
_ABOUT = re.compile(rb'"reference"\s*:\s*"Patient/([^"/]+)"')
_BASE = re.compile(r"(https?://[^/?#]+)((?:/[^/?#]+)*)/([A-Z][A-Za-z]+)(?:[/?#]|$)")


@dataclass(frozen=True, slots=True)
class Capture:
    """One file: its name, its bytes, and what is in it, if that is a JSON object."""

    name: str
    body: bytes
    content: Resource

    @property
    def content_type(self) -> str:
        """By the file's name."""
        return TYPES.get(Path(self.name).suffix, "text/plain")

    @property
    def bare(self) -> bytes:
        """The bytes without a byte order mark, to stand within a searchset."""
        return self.body.removeprefix(BOM).strip()

    @property
    def kind(self) -> str:
        """The resource type, or empty."""
        return str(self.content.get("resourceType", ""))

    @property
    def address(self) -> re.Match[str] | None:
        """Origin, path of the base, and type, as the answer itself names them."""
        links = [link.get("url", "") for link in self.content.get("link", ())]
        entries = [e for e in self.content.get("entry", ()) if isinstance(e, dict)]
        named = (*links, *(e.get("fullUrl", "") for e in entries), _own_url(self.content))
        return next((found for url in named if (found := _BASE.match(str(url)))), None)

    @property
    def searched(self) -> str:
        """The type that a searchset is about; empty for what is no searchset."""
        if self.kind != "Bundle" or self.content.get("type") != "searchset":
            return ""
        entries = [e.get("resource", e) for e in self.content.get("entry", ())]
        kinds = Counter(e.get("resourceType", "") for e in entries if "resourceType" in e)
        kinds.pop("OperationOutcome", None)
        address = self.address
        return kinds.most_common(1)[0][0] if kinds else address[3] if address else ""


def _own_url(content: Resource) -> str:
    if content.get("resourceType") not in ("CapabilityStatement", "Conformance"):
        return ""
    implementation = content.get("implementation", {})
    base = content.get("url") or f"{implementation.get('url', '')}/metadata"
    return str(base).removesuffix("/metadata") + "/Patient"


@dataclass(slots=True)
class Home:
    """One base: `path` below our origin, `theirs` the origin that the answers were given from."""

    path: str
    theirs: str = ""
    files: list[str] = field(default_factory=list)
    searches: dict[str, bytes] = field(default_factory=dict)
    spliced: dict[str, list[bytes]] = field(default_factory=dict)
    reads: dict[str, bytes] = field(default_factory=dict)
    held: dict[str, Capture] = field(default_factory=dict)
    statement: bytes = b""
    smart: bytes = b""
    errors: dict[tuple[int, str], Capture] = field(default_factory=dict)
    patient: str = ""

    def answer(self, kind: str) -> bytes | None:
        """The searchset of a type: the captured one, or one made around captured resources."""
        if kind in self.searches:
            return self.searches[kind]
        entries = [*self.spliced.get(kind, ())]
        if kind == "DocumentReference":
            entries += [_holding(name, one, self.patient) for name, one in self.held.items()]
        if not entries:
            return None
        joined = b",".join(b'{"resource":' + entry + b"}" for entry in entries)
        return b'{"resourceType":"Bundle","type":"searchset","entry":[' + joined + b"]}"


def _holding(name: str, capture: Capture, patient: str) -> bytes:
    """A document whose attachment is a capture that is no record."""
    attachment = {"contentType": capture.content_type, "url": f"Binary/{name}"}
    return write_json(
        {
            "resourceType": "DocumentReference", "id": re.sub(r"[^A-Za-z0-9.-]", "-", name)[:64],
            "status": "current", "subject": {"reference": f"Patient/{patient}"},
            "content": [{"attachment": attachment}],
        }
    )  # fmt: skip


def homes_of(folder: Path) -> list[Home]:
    """Every base of the vendors whose folders lie in `folder`; `INDEX.md` is no capture."""
    homes: list[Home] = []
    for vendor in sorted(one for one in folder.iterdir() if one.is_dir()):
        for home in _homes(vendor):
            if any(home.path == other.path for other in homes):
                home.path = f"/{vendor.name}{home.path}"
            homes.append(home)
    return homes


def _homes(folder: Path) -> list[Home]:
    captures = [_read(path) for path in sorted(folder.rglob("*")) if path.is_file()]
    neighbourhood = _Neighbourhood(folder.name, captures)
    # Searchsets first: they take their places, and the rest is put where it hides behind none.
    for capture in sorted(captures, key=lambda one: not one.searched):
        neighbourhood.place(capture)
    return neighbourhood.finished()


def _read(path: Path) -> Capture:
    body = path.read_bytes()
    try:
        content = read_json(body.removeprefix(BOM))
    except (ValueError, RecursionError):
        content = {}
    return Capture(path.name, body, content if isinstance(content, dict) else {})


class _Neighbourhood:
    """The bases of one vendor: what would stand in another's place gets a base of its own."""

    def __init__(self, name: str, captures: Sequence[Capture]) -> None:
        found = [one.address for one in captures if one.searched and one.address]
        self.path = found[0][2] if found and found[0][2] else f"/{name}/fhir"
        theirs = self._origin(found[0]) if found else ""
        self.theirs, self.homes, self._more = theirs, [Home(self.path, theirs)], count(2)
        self.patients = [one for one in captures if one.kind == "Patient"]

    def place(self, capture: Capture) -> None:
        """Put one capture where it is asked for."""
        error = re.match(r"error-(\d{3})", capture.name)
        if capture.searched:
            home = self._free(capture.searched, capture.address)
            home.searches[capture.searched] = capture.body
        elif error:
            home = self.homes[0]
            home.errors[int(error[1]), capture.content_type] = capture
        elif capture.name.startswith("CapabilityStatement"):
            home = self._stated(capture)
        elif capture.name.startswith("smart-configuration") and not self.homes[0].smart:
            home = self.homes[0]
            home.smart = capture.body
        else:
            home = self._record(capture)
        home.files.append(capture.name)

    def _free(self, kind: str, address: re.Match[str] | None = None) -> Home:
        """A base at this address that has no searchset of a type yet; a new one beside, if none."""
        path, theirs = self.path, self.theirs
        if address and address[2]:
            path, theirs = address[2], self._origin(address)
        beside = [one for one in self.homes if re.fullmatch(rf"{re.escape(path)}(-\d+)?", one.path)]
        free = next((one for one in beside if kind not in one.searches), None)
        if free is None:
            free = Home(f"{path}-{next(self._more)}" if beside else path, theirs)
            self.homes.append(free)
        return free

    def _origin(self, address: re.Match[str]) -> str:
        # A host without a dot is known within the hospital only: it is left as it was captured.
        return address[1] if "." in str(urlsplit(address[1]).hostname) else ""

    def _stated(self, capture: Capture) -> Home:
        address = capture.address
        path = address[2] if address else self.path
        home = next((one for one in self.homes if one.path == path), None)
        if home is None:
            home = Home(path, address[1] if address else "")
            self.homes.append(home)
        home.statement = capture.body
        return home

    def _record(self, capture: Capture) -> Home:
        lines = capture.bare.splitlines() if capture.name.endswith(".ndjson") else [capture.bare]
        resources = [*_resources(lines)]
        kinds = {str(one.get("resourceType")) for _, one in resources}
        if kinds == {"Patient"} or (kinds and kinds <= SEARCHED):
            home = self.homes[0] if kinds == {"Patient"} else self._last_free()
            for body, one in resources:
                home.spliced.setdefault(str(one["resourceType"]), []).append(body)
                home.reads[f"{one['resourceType']}/{one.get('id', '')}"] = body
            return home
        home = self._last_free()
        home.held[capture.name] = capture
        return home

    def _last_free(self) -> Home:
        return self._free("DocumentReference")

    def finished(self) -> list[Home]:
        """The bases, each with the patient whom its records are about."""
        for home in self.homes:
            home.patient = _patient_of(home) or next(
                (str(one.content["id"]) for one in self.patients), "captured"
            )
        return self.homes


def _resources(lines: Sequence[bytes]) -> Iterator[tuple[bytes, Resource]]:
    for line in lines:
        try:
            found = read_json(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and "resourceType" in found:
            yield line, found


def _patient_of(home: Home) -> str:
    """Whom most records of the searches are about."""
    bodies = [*home.searches.values(), *(one for many in home.spliced.values() for one in many)]
    named = Counter(one for body in bodies for one in _ABOUT.findall(body))
    return named.most_common(1)[0][0].decode() if named else ""


def rebased(body: bytes, home: Home, origin: str) -> bytes:
    """A captured answer whose own links lead to us, so that they can be followed."""
    return body.replace(home.theirs.encode(), origin.encode()) if home.theirs else body


def told(homes: Sequence[Home], origin: str) -> list[Mapping[str, Any]]:
    """Every base with its files and its patient."""
    return [
        {"base": origin + home.path, "files": home.files, "patient": home.patient} for home in homes
    ]
