"""The stage itself: everything sighted goes in, entries come out, and every key has one end."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhir_bridge.case.case import Case
from fhir_bridge.case.ids import bridge_id, urn
from fhir_bridge.case.ledger import RecordKey, RecordState
from fhir_bridge.case.record import (
    End,
    Entry,
    HeldAttachment,
    Json,
    Normalized,
    Sighted,
    Unresolved,
)
from fhir_bridge.pipeline.normalize import contents as content
from fhir_bridge.pipeline.normalize.coding import section
from fhir_bridge.pipeline.normalize.contents import Contents, by_parent, collect, settle
from fhir_bridge.pipeline.normalize.dressing import Dressed, Dresser
from fhir_bridge.pipeline.normalize.ends import Ends, Standing, merge_twins, stand, supersede
from fhir_bridge.pipeline.normalize.evidence import Evidence, Name, gather, name_of
from fhir_bridge.pipeline.normalize.links import Links
from fhir_bridge.pipeline.normalize.newest import newest
from fhir_bridge.pipeline.normalize.studies import Study, absorb, built
from fhir_bridge.standards.fhir.lenient import objects

Studies = Sequence[tuple[Json, Sequence[RecordKey]]]

_WHY_GONE = {
    RecordState.EXCLUDED: "left out",
    RecordState.QUARANTINED: "set aside",
    RecordState.FAILED: "not readable",
    RecordState.SUPERSEDED: "replaced",
}


def normalize(
    case: Case,
    sighted: Sequence[Sighted],
    attachments: Sequence[HeldAttachment],
    studies: Studies,
    pins: Mapping[str, str],
    own: Collection[Name] = (),
) -> Normalized:
    """
    Make one coherent set of R4 resources of everything that was sighted for a case.

    `studies` are the ImagingStudies that the bridge built from DICOM with the keys of their
    instances, `pins` the confirmed patient id at each source, `own` the (source, type, id) of
    opinions that we filed there ourselves. The same evidence gives the same
    answer in any order of arrival (TRUTH 6); every key that goes in ends exactly once (TRUTH 2).
    """
    evidence, held, ends = gather(case, sighted, pins, own), by_parent(attachments), Ends()
    standing = stand(evidence, ends)
    conflicts = supersede(standing, ends)
    merged = merge_twins(standing, held, conflicts, ends)
    ours = built(studies)
    absorbed = absorb(standing, ours, ends)
    contents = collect(held, [one.key for one, _ in standing.values()])
    _merge_binaries(standing, contents, ends)

    links = Links(evidence, _homes(standing, merged, absorbed), _gone(ends))
    _locate_binaries(links, ends, contents)
    work = _Work(evidence, standing, ours, Dresser(links, contents), held, conflicts, ends)
    entries, unresolved = _entries(work)
    homes = {one.key: links.homes[name] for name, (one, _) in standing.items()}
    settle(held, contents, homes, ends)
    return Normalized(
        entries=tuple(sorted(_with_merged(entries, ends, homes), key=_place)),
        ends=dict(sorted(ends.items())),
        unresolved=tuple(sorted(unresolved, key=lambda u: (u.entry, u.path, u.reference))),
        newest=newest(evidence, ours),
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """What is decided when entries are made: what stands, where things lead, what is held."""

    evidence: Evidence
    standing: Standing
    studies: Sequence[Study]
    dresser: Dresser
    held: content.Held
    conflicts: Mapping[Name, str]
    ends: Ends


def _homes(
    standing: Standing, merged: Mapping[Name, Name], absorbed: Mapping[Name, str]
) -> dict[Name, str]:
    homes = {name: urn(bridge_id(*name)) for name in standing}
    homes.update({name: homes[survivor] for name, survivor in merged.items()})
    homes.update(absorbed)
    return homes


def _gone(ends: Ends) -> dict[Name, str]:
    """Why a record that is known does not stand; for old versions the newest one's end decides."""
    found: dict[Name, str] = {}
    for key, end in ends.items():
        if end.rule != "newer-version" and end.state in _WHY_GONE:
            found[name_of(key)] = f"{_WHY_GONE[end.state]}: {end.reason}"
    return found


def _merge_binaries(standing: Standing, contents: Contents, ends: Ends) -> None:
    """A Binary that came as a resource is the same thing as the attachment with its bytes."""
    for name in [name for name in standing if name[1] == "Binary"]:
        sighted = standing[name][0]
        first = contents.firsts.get(content.binary_content(sighted.resource))
        if first and contents.url(first.sha256):
            reason = "the same bytes are held already"
            ends[sighted.key] = End(
                RecordState.MERGED_INTO, "same-bytes", reason, target=str(first.key)
            )
            contents.keys[first.sha256].add(sighted.key)
            del standing[name]


def _locate_binaries(links: Links, ends: Ends, contents: Contents) -> None:
    for sha256, keys in contents.keys.items():
        for key in keys:
            if key.kind == "Binary" and ends[key].state is RecordState.MERGED_INTO:
                links.homes[name_of(key)] = contents.url(sha256)


def _entries(work: _Work) -> tuple[list[Entry], list[Unresolved]]:
    entries, unresolved = work.dresser.contents.entries(), list[Unresolved]()
    for name in work.standing:
        entry, open_ends = _record(name, work)
        entries.append(entry)
        unresolved += open_ends
    for study in work.studies:
        dressed = _study(study, work)
        sources = (*study.instances, *study.merged)
        entries.append(Entry(study.full_url, dressed.resource, sources, "imaging"))
        unresolved += dressed.unresolved
    patient = _patient(work)
    entries.append(Entry(work.evidence.patient_url, patient.resource))
    return entries, unresolved + patient.unresolved


def _record(name: Name, work: _Work) -> tuple[Entry, list[Unresolved]]:
    sighted, found = work.standing[name]
    key, full_url = sighted.key, work.dresser.links.homes[name]
    dressed = work.dresser.dress(
        sighted.resource,
        full_url,
        source=key.source,
        base=sighted.base,
        found=found,
        held=work.held.get(key),
    )
    conflict = work.conflicts.get(name)
    notes = "; ".join(([conflict] if conflict else []) + dressed.notes)
    work.ends[key] = End(RecordState.KEPT, "kept", notes, entry=full_url)
    return Entry(full_url, dressed.resource, (key,), section(dressed.resource)), dressed.unresolved


def _study(study: Study, work: _Work) -> Dressed:
    pins = work.evidence.pins
    for key in study.instances:
        work.ends[key] = End(RecordState.KEPT, "held", entry=study.full_url)
    resource = {**study.resource, "subject": {"reference": f"Patient/{pins.get(study.source)}"}}
    if study.source not in pins:
        # Pushed by a node that has no EHR here: the images are the case's own patient's.
        del resource["subject"]
    dressed = work.dresser.dress(resource, study.full_url, source=study.source, base=study.base)
    dressed.resource.setdefault("subject", {"reference": work.evidence.patient_url})
    return dressed


def _patient(work: _Work) -> Dressed:
    """The patient as the case manager entered them, linked to the Patient of every source."""
    entered = {**work.evidence.case.patient, "resourceType": "Patient"}
    dressed = work.dresser.dress(entered, work.evidence.patient_url, source="", base="")
    homes = work.dresser.links.homes
    theirs = sorted(home for (_, kind, _), home in homes.items() if kind == "Patient")
    if theirs:
        links = [{"other": {"reference": home}, "type": "seealso"} for home in theirs]
        dressed.resource["link"] = [*objects(dressed.resource.get("link")), *links]
    return dressed


def _with_merged(
    entries: Iterable[Entry], ends: Ends, homes: Mapping[RecordKey, str]
) -> Iterator[Entry]:
    """Entries with the keys of the records that were merged into them as further sources."""
    survivors = {str(key): home for key, home in homes.items()}
    further: dict[str, list[RecordKey]] = {}
    for key, end in ends.items():
        if end.state is RecordState.MERGED_INTO and end.target in survivors:
            further.setdefault(survivors[end.target], []).append(key)
    for entry in entries:
        added = further.get(entry.full_url)
        sources = (*entry.sources, *sorted(added)) if added else entry.sources
        yield Entry(entry.full_url, entry.resource, sources, entry.section)


def _place(entry: Entry) -> tuple[Any, ...]:
    return str(entry.resource["resourceType"]), entry.full_url
