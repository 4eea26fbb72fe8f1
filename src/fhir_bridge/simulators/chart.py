"""The hospital's chart: the records it was born with, and what others have written into it."""

from __future__ import annotations

import base64
import binascii
import csv
import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fhir_bridge.simulators import searching
from fhir_bridge.simulators.rules import Rules
from fhir_bridge.simulators.wire import Refusal, Resource, read_json, write_json

BORN_AT = "2024-01-01T00:00:00Z"
"""The lastUpdated of files that the hospital always had."""


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes behind a Binary, with their media type and the Binary's version."""

    content_type: str
    body: bytes
    version: str
    last_updated: str


class Chart:
    """
    Every resource of the hospital, by type and id, one version each.

    What is created is appended to `journal` (JSON lines) and synced before the caller hears of it,
    so that a restart of the hospital keeps its chart. `clock` gives aware UTC times.
    """

    def __init__(
        self, born: Iterable[Resource], files: dict[str, tuple[str, Path]], *,
        journal: Path, rules: Rules, clock: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._rules, self._clock, self._files = rules, clock, files
        self._lock = threading.RLock()
        self._held: dict[tuple[str, str], Resource] = {}
        self._created: dict[tuple[str, str], float] = {}
        for resource in born:
            self._held[resource["resourceType"], resource["id"]] = resource
        self.types = tuple(sorted({kind for kind, _ in self._held} | {"Binary", "Patient"}))
        self._journal = journal
        for resource in _replay(journal):
            self._keep(resource, 0.0)

    def _keep(self, resource: Resource, at: float) -> None:
        key = (resource["resourceType"], resource["id"])
        self._held[key], self._created[key] = resource, at

    def read(self, kind: str, identity: str) -> Resource | None:
        """The current version, or None."""
        return self._held.get((kind, identity))

    def created(self, kind: str) -> list[Resource]:
        """What others wrote into the chart, oldest first."""
        return [self._held[key] for key in self._created if key[0] == kind]

    def all_of(self, kind: str) -> list[Resource]:
        """Every resource of a type, in the order in which it came."""
        return [resource for key, resource in list(self._held.items()) if key[0] == kind]

    def counts(self) -> dict[str, int]:
        """How many of each type (Binary: files included)."""
        counts = Counter(kind for kind, _ in self._held)
        counts["Binary"] += len(self._files)
        return dict(sorted(counts.items()))

    def search(self, kind: str, asked: Sequence[tuple[str, str]]) -> searching.Found:
        """What the hospital's search index knows; Refusal 400 for values that cannot be read."""
        return searching.search(self._indexed(kind), kind, asked)

    def _indexed(self, kind: str) -> Iterator[Resource]:
        latest = self._clock().timestamp() - self._rules.index_lag_seconds
        for resource in self.all_of(kind):
            if self._created.get((kind, resource["id"]), 0.0) <= latest:
                yield resource

    def create(self, resource: Resource, unless: Sequence[tuple[str, str]] = ()) -> _Created:
        """
        Store a new resource under an id of our own; durable on return.

        `unless` is If-None-Exist (R4 http.html#ccreate): one match is answered instead of stored,
        several are Refusal 412.
        """
        with self._lock:
            if unless and (known := self._only_match(resource["resourceType"], unless)):
                return _Created(known, new=False)
            kept = self._stamped(self._rules.keep_document(resource))
            _append(self._journal, kept)
            self._keep(kept, self._clock().timestamp())
            return _Created(kept, new=True)

    def _only_match(self, kind: str, unless: Sequence[tuple[str, str]]) -> Resource | None:
        found = self.search(kind, unless)
        if found.ignored or not found.used:
            raise Refusal(412, "not-supported", "If-None-Exist names a parameter unknown here")
        if len(found.matches) > 1:
            raise Refusal(412, "multiple-matches", "If-None-Exist matches several resources")
        return found.matches[0] if found.matches else None

    def _stamped(self, resource: Resource) -> Resource:
        now = self._clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        meta = {**resource.get("meta", {}), "versionId": "1", "lastUpdated": now}
        rest = {k: v for k, v in resource.items() if k not in ("resourceType", "id", "meta")}
        kind = resource["resourceType"]
        return {"resourceType": kind, "id": uuid.uuid4().hex[:20], "meta": meta, **rest}

    def content(self, identity: str) -> Content | None:
        """The bytes of a Binary, or None when there is none of that id."""
        if identity in self._files:
            content_type, path = self._files[identity]
            return Content(content_type, path.read_bytes(), "1", BORN_AT)
        resource = self.read("Binary", identity)
        if resource is None:
            return None
        body = base64.b64decode(resource.get("data", ""))
        meta = resource["meta"]
        return Content(resource["contentType"], body, meta["versionId"], meta["lastUpdated"])

    def attachment(self, attachment: dict[str, Any]) -> Content | None:
        """What an Attachment shows: its own `data`, or the Binary of this chart that it names."""
        if "data" in attachment:
            body = base64.b64decode(attachment["data"])
            return Content(attachment.get("contentType", ""), body, "1", BORN_AT)
        *_, kind, identity = ("", "", *str(attachment.get("url", "")).split("/"))
        return self.content(identity) if kind == "Binary" else None


@dataclass(frozen=True, slots=True)
class _Created:
    resource: Resource
    new: bool


def binary_of(identity: str, content: Content) -> Resource:
    """A Binary as JSON (R4 binary.html#rest)."""
    return {
        "resourceType": "Binary",
        "id": identity,
        "meta": {"versionId": content.version, "lastUpdated": content.last_updated},
        "contentType": content.content_type,
        "data": base64.b64encode(content.body).decode(),
    }


def is_base64(text: object) -> bool:
    """Whether an element can be a FHIR base64Binary."""
    try:
        return isinstance(text, str) and base64.b64decode(text, validate=True) is not None
    except binascii.Error:
        return False


def born_with(folder: Path, rules: Rules) -> list[Resource]:
    """The resources of `folder/*.json`, each file one type, in file order."""
    resources: list[Resource] = []
    for path in sorted(folder.glob("[A-Z]*.json")):
        resources += read_json(path.read_bytes())
    if rules.shows_decoy:
        resources.append(_decoy(folder / "decoy-patient.json", resources))
    return resources


def _decoy(path: Path, resources: Iterable[Resource]) -> Resource:
    """Somebody else, to whom the register also gave our patient's numbers."""
    decoy: Resource = read_json(path.read_bytes())
    patient = next(one for one in resources if one["resourceType"] == "Patient")
    doubled = [*decoy.get("identifier", ()), *patient.get("identifier", ())]
    return decoy | {"identifier": doubled}


def files_of(folder: Path) -> dict[str, tuple[str, Path]]:
    """`ehr/binaries.csv` (id,file,content_type) of a case as id -> (content type, path)."""
    table = folder / "ehr" / "binaries.csv"
    if not table.exists():
        return {}
    with table.open(encoding="utf-8", newline="") as lines:
        return {
            row["id"]: (row["content_type"], folder / "files" / row["file"])
            for row in csv.DictReader(lines)
        }


def _replay(journal: Path) -> Iterator[Resource]:
    """The journal's whole lines; a line that a crash tore off was never acknowledged."""
    if not journal.exists():
        return
    *lines, torn = journal.read_bytes().split(b"\n")
    if torn:
        os.truncate(journal, journal.stat().st_size - len(torn))
    for line in lines:
        yield read_json(line)


def _append(journal: Path, resource: Resource) -> None:
    with journal.open("ab") as lines:
        lines.write(write_json(resource) + b"\n")
        lines.flush()
        os.fsync(lines.fileno())
