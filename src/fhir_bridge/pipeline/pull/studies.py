"""Images: which there are, by every witness; fetched by any way; only what is missing again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fhir_bridge.case.certificate import Count, Evidence
from fhir_bridge.case.events import Happened
from fhir_bridge.case.imaging import InstanceClaim
from fhir_bridge.case.ledger import INSTANCE, LedgerRow, RecordKey, RecordState
from fhir_bridge.case.record import Json
from fhir_bridge.case.slice import IMAGES, Page, Slice
from fhir_bridge.errors import BridgeError, StudyIncomplete
from fhir_bridge.pipeline.pull.source import Archive, Ehr, Source
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.lenient import first, objects, text
from fhir_bridge.standards.fhir.person import person

IMAGING_STUDY = "ImagingStudy"
ROUNDS = 2
NO_WAY = "no way to this hospital's images is set up"
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
        evidence = Evidence(not_asked=NO_WAY)
    elif not asked:
        evidence = Evidence(refused=errors[0].advice)
    fresh = Slice(source.case.id, source.id, IMAGES, run=run, evidence=evidence)
    source.shelf.turn(Page(fresh))


def _from_resources(source: Source) -> Iterator[InstanceClaim]:
    keys = source.files.keys(source.case.id, source.id, IMAGING_STUDY)
    for sighted in source.files.sighted(source.case.id, keys):
        yield from claims_of(sighted.resource)


def claims_of(resource: Json) -> Iterator[InstanceClaim]:
    """The instances that an ImagingStudy lists (R4: `series.instance.uid`)."""
    study = study_uid(resource)
    for series in objects(resource.get("series")):
        for instance in objects(series.get("instance")):
            sop_class = text(first(instance.get("sopClass")).get("code"))
            uid = text(instance.get("uid"))
            if study and uid:
                yield InstanceClaim(
                    study, text(series.get("uid")), uid, sop_class.removeprefix(_URN_OID)
                )


def study_uid(resource: Json) -> str:
    """The Study Instance UID of an ImagingStudy, or empty."""
    for identifier in objects(resource.get("identifier")):
        if identifier.get("system") == "urn:dicom:uid":
            return text(identifier.get("value")).removeprefix(_URN_OID)
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
        if source.waits_out(error):
            raise
        return error
    return None


def _numbers(source: Source) -> Sequence[str]:
    """Patient numbers to ask the archive by: those of the pinned Patient, else the case's."""
    pin = source.pin()
    keys = source.files.keys(source.case.id, source.id, "Patient")
    pinned = [key for key in keys if key.id == pin.patient_id]
    found = source.files.sighted(source.case.id, pinned) if pinned else ()
    who = person(found[-1].resource) if found else source.case.person
    return sorted({i.value for i in who.identifiers if i.value and not _is_pattern(i.value)})


def _is_pattern(number: str) -> bool:
    # PS3.4 C.2.2.2.4: these would ask for the images of many patients.
    return any(sign in number for sign in "*?\\")


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
            except BridgeError as error:
                if source.waits_out(error):
                    raise
                continue  # the next way, or the next round, asks for what is still missing


def _missing(source: Source, study: str) -> list[InstanceClaim]:
    held = source.held()
    return [c for c in _all_claims(source) if c.study_uid == study and c.sop_uid not in held]


@dataclass(frozen=True, slots=True)
class _Listed:
    """A witness's list after the pull: SOP Instance UID -> study; study -> how many it has."""

    uids: Mapping[str, str] = field(default_factory=dict)
    stated: Mapping[str, int] = field(default_factory=dict)


def close(source: Source, ehr: Ehr | None) -> None:
    """Ask every witness again, after the pull, and write the verdict of the images."""
    now = source.shelf.slice(source.case.id, source.id, IMAGES)
    if now is None:
        return
    after = _listed_again(source, ehr)
    claimed = {claim.sop_uid: claim.study_uid for claim in _all_claims(source)}
    if not claimed and not source.archives:
        source.shelf.turn(Page(replace(now, ended=True)))
        return
    held = source.held() & set(claimed).union(*(listed.uids for listed in after.values()))
    for uid in sorted(set(claimed) - held):
        source.shelf.see(source.case.id, _not_obtained(source, uid))
    evidence = Evidence(
        obtained=len(held),
        counts=tuple(
            _count(witness, listed, held) for witness, listed in after.items() if listed.uids
        ),
        missing=len(set(claimed) - held) + _never_listed(claimed, after),
        refused=now.evidence.refused if not held else "",
    )
    source.shelf.turn(
        Page(replace(now, ended=True, evidence=evidence)),
        source.event(Happened.SLICE_ENDED, type=IMAGES),
    )


def _count(witness: str, listed: _Listed, held: frozenset[str]) -> Count:
    """A list that lacks some of what we hold, and has nothing more, is no witness of it."""
    uids = frozenset(listed.uids)
    return Count(witness, len(uids), after=True, trusted=not uids < held, ids_agree=uids == held)


def _never_listed(claimed: Mapping[str, str], after: Mapping[str, _Listed]) -> int:
    """How many more images the studies are said to have than any witness lists one by one."""
    known: dict[str, str] = dict(claimed)
    stated: Counter[str] = Counter()
    for listed in after.values():
        known |= listed.uids
        stated |= Counter(listed.stated)
    return (stated - Counter(known.values())).total()


def _not_obtained(source: Source, uid: str) -> LedgerRow:
    withheld = "the hospital lists this image and does not hand it over"
    return LedgerRow(
        RecordKey(source.id, INSTANCE, uid),
        RecordState.FAILED,
        rule="retrieve",
        reason=withheld if source.archives else NO_WAY,
        error_code=StudyIncomplete.code,
        attempts=1,
    )


def _listed_again(source: Source, ehr: Ehr | None) -> Mapping[str, _Listed]:
    """What each witness lists now; one that does not answer, or lists nothing, is none."""
    studies = {claim.study_uid for claim in _all_claims(source)}
    numbers = _numbers(source)
    lists = {IMAGING_STUDY: _reread(source, ehr) if ehr else _Listed()}
    for archive in source.archives:
        if not lists.get(archive.witness, _Listed()).uids:
            lists[archive.witness] = _ask_again(source, archive, numbers, studies)
    return {witness: found for witness, found in lists.items() if found.uids or found.stated}


def _ask_again(
    source: Source, archive: Archive, numbers: Sequence[str], studies: set[str]
) -> _Listed:
    try:
        claims = [claim for number in numbers for claim in archive.list_studies(number)]
        known = sorted(studies | {claim.study_uid for claim in claims})
        uids = {c.sop_uid: study for study in known for c in archive.list_instances(study)}
    except BridgeError as error:
        if source.waits_out(error):
            raise
        return _Listed()
    return _Listed(uids, {c.study_uid: c.instances for c in claims if c.instances})


def _reread(source: Source, ehr: Ehr) -> _Listed:
    """The EHR's own ImagingStudy resources, read once more after the images came."""
    ids = {key.id for key in source.files.keys(source.case.id, source.id, IMAGING_STUDY)}
    uids: dict[str, str] = {}
    stated: dict[str, int] = {}
    try:
        for id_ in sorted(ids):
            resource = json.load_object(ehr.read(f"{IMAGING_STUDY}/{id_}").body or b"")
            uids |= {claim.sop_uid: claim.study_uid for claim in claims_of(resource)}
            number = resource.get("numberOfInstances")
            if isinstance(number, int) and study_uid(resource):
                stated[study_uid(resource)] = number
    except BridgeError as error:
        if source.waits_out(error):
            raise
        return _Listed()
    return _Listed(uids, stated)
