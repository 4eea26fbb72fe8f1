"""The studies and series of a case, and one small picture for each series."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Any

from starlette.responses import Response

from fhir_bridge.case.imaging import Instance
from fhir_bridge.errors import BridgeError
from fhir_bridge.servers.console import papers
from fhir_bridge.servers.console.kept import Kept
from fhir_bridge.servers.console.ports import Preview
from fhir_bridge.servers.console.room import Room
from fhir_bridge.store.shelves import Store

SIZE, DEADLINE_SECONDS, KEPT = 256, 5.0, 256
_NO_PIXELS = {
    "SR": "Report as text",
    "DOC": "Document",
    "PR": "Display settings",
    "KO": "Selection of images",
    "RTSTRUCT": "Treatment contours",
    "RTPLAN": "Treatment plan",
    "SEG": "Segmentation",
    "REG": "Registration",
}
_DOCUMENT = "1.2.840.10008.5.1.4.1.1.104."
_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="256" height="256" viewBox="0 0 256 256">'
    '<rect width="256" height="256" fill="#20262c"/><text x="128" y="118" fill="#e8ebee"'
    ' font-family="system-ui,sans-serif" font-size="44" font-weight="600" text-anchor="middle">'
    '{modality}</text><text x="128" y="156" fill="#aab3bb" font-family="system-ui,sans-serif"'
    ' font-size="20" text-anchor="middle">{reason}</text></svg>'
)


@dataclass(frozen=True, slots=True)
class Series:
    """One series. `token` names it in addresses; `expected` is how many the source lists."""

    token: str
    modality: str
    description: str
    held: int
    expected: int | None
    middle: Instance
    no_picture: str = ""

    @property
    def short(self) -> bool:
        """Whether the source lists more than we hold."""
        return self.expected is not None and self.held < self.expected


@dataclass(frozen=True, slots=True)
class Study:
    """One study with its series."""

    token: str
    title: str
    date: str
    source: str
    pushed: bool
    series: tuple[Series, ...]

    @property
    def held(self) -> int:
        """Images that we hold."""
        return sum(series.held for series in self.series)


@dataclass(frozen=True, slots=True)
class _Described:
    title: str = ""
    date: str = ""
    series: Mapping[str, str] | None = None


def studies(store: Store, case_id: str) -> Sequence[Study]:
    """Every study of a case, newest first; the words come from the ImagingStudy resources."""
    instances = store.images.of_case(case_id)
    described = _descriptions(
        s.resource for s in store.ledgers.sighted(case_id) if s.key.kind == "ImagingStudy"
    )
    sources = {instance.source for instance in instances}
    expected = {source: _expected(store, case_id, source) for source in sources}
    found = [
        _study(list(own), described.get(uid, _Described()), expected)
        for uid, own in groupby(instances, key=lambda instance: instance.study_uid)
    ]
    return sorted(found, key=lambda study: study.date, reverse=True)


def _study(
    instances: Sequence[Instance],
    described: _Described,
    expected: Mapping[str, Mapping[str, int]],
) -> Study:
    first = instances[0]
    names = described.series or {}
    series = tuple(
        _series(list(own), names.get(uid, ""), expected[first.source].get(uid))
        for uid, own in groupby(instances, key=lambda instance: instance.series_uid)
    )
    modalities = "/".join(sorted({one.modality for one in series if one.modality}))
    return Study(
        token=_token(first.study_uid),
        title=described.title or f"{modalities or 'Imaging'} study",
        date=described.date,
        source=first.source,
        pushed=any(instance.pushed for instance in instances),
        series=series,
    )


def _series(instances: Sequence[Instance], description: str, expected: int | None) -> Series:
    middle = instances[len(instances) // 2]
    held = len({instance.sop_uid for instance in instances})
    no_picture = _NO_PIXELS.get(middle.modality, "")
    if middle.sop_class.startswith(_DOCUMENT):
        no_picture = _NO_PIXELS["DOC"]
    return Series(
        token=_token(middle.series_uid),
        modality=middle.modality or "?",
        description=description,
        held=held,
        expected=expected,
        middle=middle,
        no_picture=no_picture,
    )


def _token(uid: str) -> str:
    # Addresses carry no UID: it can be traced to the hospital and sometimes to the patient.
    return hashlib.sha256(uid.encode()).hexdigest()[:12]


def _expected(store: Store, case_id: str, source: str) -> Mapping[str, int]:
    """Per series: the longest list that a witness gives of it."""
    counts: dict[str, int] = {}
    for claims in store.ledgers.claims(case_id, source).values():
        for uid, own in groupby(claims, key=lambda claim: claim.series_uid):
            if uid:
                counts[uid] = max(counts.get(uid, 0), len(list(own)))
    return counts


def _descriptions(resources: Iterable[Mapping[str, Any]]) -> Mapping[str, _Described]:
    found = {}
    for resource in resources:
        numbers = [i.get("value", "") for i in resource.get("identifier") or ()]
        uid = next((n[8:] for n in numbers if n.startswith("urn:oid:")), "")
        series = {s.get("uid", ""): s.get("description", "") for s in resource.get("series") or ()}
        reason = next(iter(resource.get("procedureCode") or ()), None)
        title = papers.title(resource) or papers.concept(reason)
        found[uid] = _Described(title, papers.date(resource), series)
    return found


class Gallery:
    """Draws one small picture a series, and remembers the last ones in memory."""

    def __init__(self, preview: Preview) -> None:
        self._preview, self._kept = preview, Kept[bytes](KEPT)

    def picture(self, room: Room, series: Series) -> Response:
        """A PNG, or a placeholder that says why there is none."""
        if series.no_picture:
            return placeholder(series.modality, series.no_picture)
        sha256 = series.middle.sha256
        drawn = self._kept.get(sha256)
        if drawn is None:
            try:
                path = room.store.originals.path(sha256)
                drawn = self._preview(path, size=SIZE, deadline_seconds=DEADLINE_SECONDS)
            except BridgeError:
                return placeholder(series.modality, "Cannot be drawn here")
            self._kept.put(sha256, drawn)
        return Response(drawn, media_type="image/png")


def placeholder(modality: str, reason: str) -> Response:
    """A drawn modality with the reason why there is no picture."""
    text = _SVG.format(modality=escape(modality[:8]), reason=escape(reason))
    return Response(text, media_type="image/svg+xml")
