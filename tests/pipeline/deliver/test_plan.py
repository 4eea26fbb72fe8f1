from __future__ import annotations

from fhir_bridge.case.delivery import DeliveryState
from fhir_bridge.pipeline.deliver import plan as reasons
from fhir_bridge.pipeline.deliver.plan import Plan, Rung, Site, plan

from .fake_chart import Declared

BOTH = Declared()
DOCUMENTS_ONLY = Declared(("DocumentReference",))
SMALL, LARGE = 1_000, 10_000
SITE = Site("p1", max_inline_bytes=4_000)


def chosen(declares: Declared, size: int, *, site: Site = SITE, refused: bool = False) -> Plan:
    return plan(declares, site, content_bytes=size, refused_inline=refused)


def test_a_small_opinion_goes_in_one_piece() -> None:
    assert chosen(BOTH, SMALL).rung is Rung.INLINE


def test_the_limit_counts_base64_and_not_the_raw_bytes() -> None:
    assert chosen(BOTH, 3_000).rung is Rung.INLINE
    assert chosen(BOTH, 3_001).rung is Rung.BINARY


def test_a_large_one_goes_as_files_of_their_own() -> None:
    assert chosen(BOTH, LARGE).rung is Rung.BINARY


def test_after_a_refusal_in_one_piece_it_goes_as_files() -> None:
    assert chosen(BOTH, SMALL, refused=True).rung is Rung.BINARY


def test_a_site_may_prefer_files_but_gets_one_piece_where_it_takes_none() -> None:
    site = Site("p1", prefers_binary=True)
    assert chosen(BOTH, SMALL, site=site).rung is Rung.BINARY
    assert chosen(DOCUMENTS_ONLY, SMALL, site=site).rung is Rung.INLINE


def test_too_large_for_the_only_form_there_is_asks_a_person() -> None:
    assert chosen(DOCUMENTS_ONLY, LARGE) == Plan(None, DeliveryState.HELD, reasons.TOO_LARGE)


def test_a_chart_that_takes_no_documents_means_paper() -> None:
    made = chosen(Declared(()), SMALL)
    assert made == Plan(None, DeliveryState.MANUAL, reasons.TAKES_NOTHING)


def test_a_statement_that_names_nothing_forbids_nothing() -> None:
    silent = Declared((), silent=True)
    assert chosen(silent, SMALL).rung is Rung.INLINE
    assert chosen(silent, LARGE).rung is Rung.BINARY


def test_without_a_confirmed_patient_nothing_is_sent() -> None:
    made = chosen(BOTH, SMALL, site=Site(""))
    assert made == Plan(None, DeliveryState.HELD, reasons.NO_PATIENT)
