"""Images: which there are, by every witness; fetched by any way; only what is missing again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from fhir_bridge.case.certificate import Count, Evidence
from fhir_bridge.case.events import Happened
from fhir_bridge.case.imaging import InstanceClaim
from fhir_bridge.case.ledger import INSTANCE, LedgerRow, RecordKey, RecordState
from fhir_bridge.case.slice import IMAGES, Page, Slice
from fhir_bridge.errors import BridgeError, StudyIncomplete
from fhir_bridge.pipeline.pull.source import Archive, Ehr, Source
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.person import person

IMAGING_STUDY = "ImagingStudy"
ROUNDS = 2
_URN_OID = "urn:oid:"


def list_studies(source: Source, run: int) -> None:
    """Note every study and instance that a witness names, before anything is fetched."""
    now = source.shelf.slice(source.case.id, source.id, IMAGES)
    if now is not None and now.run == run:
        return
    source.claims.claim(source.case.id, source.id, IMAGING_STUDY, list(_from_resources(source)))
    errors = [error for archive in source.archives if (error := _ask(source, archive))]
    asked = bool(source.archives) and len(errors) < len(source.archives)
    evidence = Evidence()
    if not source.archives:
        evidence = Evidence(not_asked="no way to this hospital's images is set up")
    elif not asked:
        evidence = Evidence(refused=errors[0].advice)
    fresh = Slice(source.case.id, source.id, IMAGES, run=run, evidence=evidence)
    source.shelf.turn(Page(fresh))


def _from_resources(source: Source) -> Iterator[InstanceClaim]:
    for sighted in source.shelf.sighted(source.case.id):
        if sighted.key.source == source.id and sighted.key.kind == IMAGING_STUDY:
            yield from claims_of(sighted.resource)


def claims_of(resource: Any) -> Iterator[InstanceClaim]:
    """The instances that an ImagingStudy lists (R4: `series.instance.uid`)."""
    study = study_uid(resource)
    for series in resource.get("series") or ():
        for instance in series.get("instance") or ():
            sop_class = (instance.get("sopClass") or {}).get("code", "")
            if study and "uid" in instance:
                yield InstanceClaim(
                    study,
                    str(series.get("uid", "")),
                    str(instance["uid"]),
                    str(sop_class).removeprefix(_URN_OID),
                )


def study_uid(resource: Any) -> str:
    """The Study Instance UID of an ImagingStudy, or empty."""
    for identifier in resource.get("identifier") or ():
        if identifier.get("system") == "urn:dicom:uid":
            return str(identifier.get("value", "")).removeprefix(_URN_OID)
    return ""


def _ask(source: Source, archive: Archive) -> BridgeError | None:
    """One archive's list of the patient's studies and their instances."""
    try:
        known = {c.study_uid for c in _all_claims(source)}
        for number in _numbers(source):
            known |= {study.study_uid for study in archive.list_studies(number)}
        for study in sorted(known):
            claims = archive.list_instances(study)
            source.claims.claim(source.case.id, source.id, archive.witness, claims)
    except BridgeError as error:
        return error
    return None


def _numbers(source: Source) -> Sequence[str]:
    """Patient numbers to ask the archive by: those of the pinned Patient, else the case's."""
    pin = source.pin()
    for sighted in source.shelf.sighted(source.case.id):
        key = sighted.key
        if (key.source, key.kind, key.id) == (source.id, "Patient", pin.patient_id):
            return [i.value for i in person(sighted.resource).identifiers if i.value]
    return [i.value for i in source.case.person.identifiers if i.value]


def _all_claims(source: Source) -> Sequence[InstanceClaim]:
    lists = source.claims.claims(source.case.id, source.id)
    seen: dict[str, InstanceClaim] = {}
    for claims in lists.values():
        for claim in claims:
            known = seen.get(claim.sop_uid)
            seen[claim.sop_uid] = claim if known is None or claim.sop_class else known
    return [seen[uid] for uid in sorted(seen)]


def fetch_next(source: Source) -> int:
    """
    Fetch one study that is not whole yet, by every way that is set up, each time only what is
    still missing; returns how many studies remain.
    """
    now = source.shelf.slice(source.case.id, source.id, IMAGES)
    if now is None or now.ended or not source.archives:
        return 0
    open_studies = _incomplete(source, skip=set(now.visited))
    if not open_studies:
        return 0
    study = open_studies[0]
    _fetch(source, study)
    source.shelf.turn(Page(replace(now, visited=(*now.visited, study))))
    return len(open_studies) - 1


def _incomplete(source: Source, *, skip: set[str]) -> list[str]:
    held = source.held()
    return sorted({c.study_uid for c in _all_claims(source) if c.sop_uid not in held} - skip)


def _fetch(source: Source, study: str) -> None:
    for _ in range(ROUNDS):
        for archive in source.archives:
            missing = _missing(source, study)
            if not missing:
                return
            whole = len(missing) == sum(c.study_uid == study for c in _all_claims(source))
            try:
                archive.retrieve(study, [] if whole else missing, source.deliver)
            except BridgeError:
                continue  # the next way, or the next round, asks for what is still missing


def _missing(source: Source, study: str) -> list[InstanceClaim]:
    held = source.held()
    return [c for c in _all_claims(source) if c.study_uid == study and c.sop_uid not in held]


def close(source: Source, ehr: Ehr | None) -> None:
    """Ask every witness again, after the pull, and write the verdict of the images."""
    now = source.shelf.slice(source.case.id, source.id, IMAGES)
    if now is None:
        return
    studies = sorted({claim.study_uid for claim in _all_claims(source)})
    after = {IMAGING_STUDY: _reread(source, ehr)} | {
        archive.witness: _list_again(archive, studies) for archive in source.archives
    }
    claimed = {claim.sop_uid: claim for claim in _all_claims(source)}
    held = source.held() & set(claimed)
    missing = sorted(set(claimed) - held)
    for uid in missing:
        source.shelf.see(source.case.id, _not_obtained(source.id, uid))
    counts = tuple(
        Count(witness, len(uids), after=True, ids_agree=uids == held)
        for witness, uids in after.items()
        if uids
    )
    evidence = now.evidence
    if not claimed and not source.archives:
        source.shelf.turn(Page(replace(now, ended=True)))
        return
    evidence = Evidence(
        obtained=len(held),
        counts=counts,
        missing=len(missing),
        refused=evidence.refused if not held else "",
    )
    source.shelf.turn(
        Page(replace(now, ended=True, evidence=evidence)),
        source.event(Happened.SLICE_ENDED, type=IMAGES),
    )


def _not_obtained(source: str, uid: str) -> LedgerRow:
    return LedgerRow(
        RecordKey(source, INSTANCE, uid),
        RecordState.FAILED,
        rule="retrieve",
        reason="the hospital lists this image and does not hand it over",
        error_code=StudyIncomplete.code,
        attempts=1,
    )


def _list_again(archive: Archive, studies: Sequence[str]) -> frozenset[str]:
    try:
        return frozenset(c.sop_uid for s in studies for c in archive.list_instances(s))
    except BridgeError:
        return frozenset()


def _reread(source: Source, ehr: Ehr | None) -> frozenset[str]:
    """The EHR's own ImagingStudy resources, read once more after the images came."""
    if ehr is None:
        return frozenset()
    ids = {
        row.key.id
        for row in source.shelf.rows(source.case.id)
        if (row.key.source, row.key.kind) == (source.id, IMAGING_STUDY)
    }
    found: set[str] = set()
    try:
        for id_ in sorted(ids):
            answer = ehr.read(f"{IMAGING_STUDY}/{id_}")
            found |= {c.sop_uid for c in claims_of(json.load_object(answer.body or b""))}
    except BridgeError:
        return frozenset()
    return frozenset(found)
