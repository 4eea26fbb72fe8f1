"""The source's own count, asked after the pull, and whether it may be believed."""

from __future__ import annotations

from dataclasses import replace

from fhir_bridge.case.certificate import COMPLETE, Count, Evidence, grade
from fhir_bridge.case.slice import Page, Slice
from fhir_bridge.errors import BridgeError, StoreError
from fhir_bridge.pipeline.pull.reading import WIDER, searchset
from fhir_bridge.pipeline.pull.source import Ehr, Source
from fhir_bridge.pipeline.pull.withheld import withholds
from fhir_bridge.standards.fhir import bundle

TOTAL, COUNT = "Bundle.total", "_summary=count"


def recount(source: Source, ehr: Ehr, type_: str) -> Slice | None:
    """
    Ask the source, after the pull, how many it has (`_summary=count`), and write it down; returns
    the slice as it stands then.

    A server that ignores `_summary` answers a page: its total counts unless the totals of its pages
    were seen to lie. No answer is no witness, never a failure of the pull. A count that agrees
    already is not asked for again.
    """
    now = source.shelf.slice(source.case.id, source.id, type_)
    if now is None or not is_of_use(now):
        return now
    try:
        evidence = counted(ehr, now)
    except StoreError:
        raise
    except BridgeError:
        return now
    if evidence != now.evidence:
        now = replace(now, evidence=evidence)
        source.shelf.turn(Page(now))
    return now


def counted(ehr: Ehr, now: Slice) -> Evidence:
    """
    The evidence of a slice with the source's own count of the whole question.

    Raises BridgeError where there is no answer.
    """
    question = (*(pair for pair in now.whole if pair[0] != "_count"), ("_summary", "count"))
    came = searchset(ehr.search(now.type.partition("?")[0], question), ehr)
    return now.evidence if came.total is None else _recounted(now.evidence, came, came.total)


def is_of_use(slice_: Slice) -> bool:
    """Whether a count would say anything about a slice: it was asked, and no count agrees yet."""
    evidence = slice_.evidence
    if "$" in slice_.type or evidence.not_asked or evidence.refused:
        return False
    agrees = any(c.witness == COUNT and c.said == evidence.obtained for c in evidence.counts)
    return not (agrees and grade(evidence) in COMPLETE)


def _recounted(evidence: Evidence, came: bundle.Page, total: int) -> Evidence:
    ignored = bool(came.matches)
    lied = any(count.witness == TOTAL and not count.trusted for count in evidence.counts)
    known_liar = ignored and (lied or (came.next_link and total <= len(came.matches)))
    low = total < evidence.obtained
    wider = not WIDER.isdisjoint(evidence.findings)
    others = tuple(count for count in evidence.counts if count.witness != COUNT)
    trusted = not (low or known_liar or wider)
    findings = {*evidence.findings, *(["total-too-low"] if low else [])}
    return replace(
        evidence,
        findings=tuple(sorted(findings)),
        counts=(*others, Count(COUNT, total, after=True, trusted=trusted)),
        warnings=evidence.warnings + sum(map(withholds, came.issues)),
    )
