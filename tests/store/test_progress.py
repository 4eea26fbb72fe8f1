"""How far a pull is, read from the rows that it left."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fhir_bridge.case.case import Case, CaseState, DimseNode
from fhir_bridge.case.certificate import Count, Evidence
from fhir_bridge.case.events import Event, Happened
from fhir_bridge.case.imaging import InstanceClaim
from fhir_bridge.case.ledger import ATTACHMENT, LedgerRow, RecordKey
from fhir_bridge.case.original import How, Original
from fhir_bridge.case.progress import Listing, Pace, Standing
from fhir_bridge.case.record import HeldAttachment
from fhir_bridge.case.slice import IMAGES, Page, Slice
from fhir_bridge.store.shelves import Store

SECOND = timedelta(seconds=1)


@pytest.fixture
def begun(store: Store, case: Case, at) -> Store:
    """A pull at `general` that turned one page of documents and one, the last, of reports."""
    started = Event(Happened.PULL_STARTED, "c1", "local", at)
    store.cases.move(
        "c1", CaseState.COLLECTING, started, facts={"run": "1", "began": at.isoformat()}
    )
    counted = Evidence(obtained=2, counts=(Count("Bundle.total", 5),), page_size=2)
    papers = Slice("c1", "general", "DocumentReference", question=(("patient", "p"),),
                   pages=1, evidence=counted)  # fmt: skip
    reports = replace(papers, type="DiagnosticReport", ended=True, evidence=Evidence(obtained=1))
    aside = replace(papers, type="Media", ended=True, evidence=Evidence(not_asked="not offered"))
    for n, part in enumerate((papers, reports, aside)):
        seen = tuple(
            LedgerRow(RecordKey("general", part.type, f"{n}{i}", "1"), original=f"o{i}")
            for i in range(part.evidence.obtained)
        )
        store.ledgers.turn(Page(part, seen, ("https://x",) * len(seen)))
    return store


def arrived(store: Store, case_id: str, source: str, number: int, at) -> None:
    for n in range(number):
        blob = store.originals.put(b"0123456789")
        store.originals.keep(
            Original(
                f"{source}-{n}-{at}",
                source,
                How.GET,
                "GET /",
                blob.sha256,
                blob.size,
                at,
                case_id=case_id,
            )
        )


def of(store: Store, source: str, now):
    return next(p for p in store.progress.of_case("c1", now=now) if p.source == source)


def test_every_source_is_there_before_anything_is_asked(store: Store, case: Case, at) -> None:
    found = store.progress.of_case("c1", now=at)
    assert [p.source for p in found] == list(case.providers)
    assert {p.standing for p in found} == {Standing.NOT_BEGUN}
    assert {(p.records, p.said, p.percent, p.requests) for p in found} == {(0, None, None, 0)}
    assert list(store.progress.of_case("unknown", now=at)) == []


def test_lists_are_counted_without_those_that_are_not_asked(begun: Store, at) -> None:
    begun.cases.step("c1", "general", "fetching documents", at=at)
    found = of(begun, "general", at)
    assert set(found.lists) == {
        Listing(ended=False, got=2, said=5, page_size=2), Listing(ended=True, got=1),
    }  # fmt: skip
    assert (found.records, found.said, found.step) == (3, 6, "fetching documents")
    assert of(begun, "st-anne", at).lists == ()


def test_why_and_until_when_a_source_rests(begun: Store, at) -> None:
    begun.cases.step("c1", "general", "waiting", error="FB-2002", at=at)
    begun.cases.waits("c1", "general", at + 30 * SECOND)
    begun.cases.tell("c1", "general", "pause")
    found = of(begun, "general", at)
    assert (found.error, found.waits_until) == ("FB-2002", at + 30 * SECOND)
    assert (found.told, found.standing) == ("pause", Standing.PAUSING)


def test_referred_records_and_files_are_counted_with_what_is_left(begun: Store, at) -> None:
    parent = RecordKey("general", "DocumentReference", "00", "1")
    files = [
        HeldAttachment(RecordKey("general", ATTACHMENT, f"f{n}"), parent, f"content[{n}]")
        for n in range(3)
    ]
    papers = begun.ledgers.slice("c1", "general", "DocumentReference")
    assert papers is not None
    targets = frozenset({("Encounter", "e1"), ("DocumentReference", "00")})
    begun.ledgers.turn(Page(papers, attachments=tuple(files), targets=targets))
    begun.ledgers.settle("c1", replace(files[0], sha256="a" * 64, size=1))
    begun.ledgers.settle("c1", replace(files[1], failure="FB-4002", reason="gone"))
    found = of(begun, "general", at)
    assert (found.files, found.settled) == (3, 2)
    assert (found.referred, found.referred_left) == (2, 1)
    assert found.referred_left == len(begun.ledgers.unread("c1", "general"))


def test_images_follow_until_an_archive_was_asked(begun: Store, at) -> None:
    assert not of(begun, "general", at).images_follow
    provider = begun.providers.get("general")
    begun.providers.add(replace(provider, dimse=DimseNode("PACS", "127.0.0.1", 104)), at=at)
    assert of(begun, "general", at).images_follow
    for witness, number in (("QIDO instances", 3), ("ImagingStudy", 2)):
        claims = [InstanceClaim("1.2", "1.3", f"1.4.{n}") for n in range(number)]
        begun.ledgers.claim("c1", "general", witness, claims)
    begun.ledgers.turn(Page(Slice("c1", "general", IMAGES)))
    found = of(begun, "general", at)
    assert (found.images_follow, found.images, found.held) == (False, 3, 0)
    assert len(found.lists) == 2


def test_what_arrived_since_the_collection_began_and_how_fast(begun: Store, at) -> None:
    arrived(begun, "c1", "general", 9, at - 10 * SECOND)
    arrived(begun, "c1", "general", 4, at)
    arrived(begun, "c1", "general", 6, at + 90 * SECOND)
    arrived(begun, "other", "general", 5, at)
    found = of(begun, "general", at + 100 * SECOND)
    assert (found.requests, found.bytes, found.pace) == (10, 100, Pace(6, 10.0))
    later = of(begun, "general", at + 1000 * SECOND)
    assert (later.requests, later.pace) == (10, Pace())
