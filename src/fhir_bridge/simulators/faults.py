"""The hospital's bad days, one row each: name, what shows, where, and the hook that does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from starlette.types import ASGIApp

from fhir_bridge.simulators import edges
from fhir_bridge.simulators.edges import Edge, Ending, Reach
from fhir_bridge.simulators.images import Instance
from fhir_bridge.simulators.rules import Rules
from fhir_bridge.simulators.wire import Resource

SLOW_PAGE_SECONDS = 0.15
SLOW_IMAGE_SECONDS = 0.05
TOKEN_USES = 10
LAG_SECONDS = 3.0
FORGOTTEN = 2


def _unchanged(rules: Rules) -> Rules:
    return rules


def _nowhere(_: edges.Ask) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Fault:
    """One misbehaviour: a change of the hospital's rules, an edge on the wire, or both."""

    name: str
    shows: str
    where: str
    rules: Callable[[Rules], Rules] = _unchanged
    reach: Reach = _nowhere
    edge: Callable[[], Edge] | None = None


def _small_pages(rules: Rules) -> Rules:
    # A fault of page 2 needs a page 2.
    return replace(rules, page_default=5, page_max=5)


def _forgets(instances: Sequence[Instance]) -> Sequence[Instance]:
    return instances[:-FORGOTTEN] if len(instances) > FORGOTTEN else ()


def _rewritten(document: Resource) -> Resource:
    if document["resourceType"] != "DocumentReference":
        return document
    dropped = ("identifier", "masterIdentifier")
    kept = {key: value for key, value in document.items() if key not in dropped}
    return kept | {"author": [{"display": "Interface, General Hospital"}]}


FAULTS: tuple[Fault, ...] = (
    Fault(
        "drop-next", "page 2 has no next link although total says more", "search pages",
        _small_pages, edges.search_pages, edges.drop_next,
    ),
    Fault(
        "loop-next", "page 2's next link leads to page 2 again", "search pages",
        _small_pages, edges.follow_up_pages, edges.loop_next,
    ),
    Fault(
        "page-500-once", "the first follow-up page fails once with 500", "search pages",
        _small_pages, edges.follow_up_pages, lambda: edges.once(500),
    ),
    Fault(
        "page-429-once", "the first follow-up page is refused once, Retry-After: 1", "search pages",
        _small_pages, edges.follow_up_pages, lambda: edges.once(429, (b"retry-after", b"1")),
    ),
    Fault(
        "truncated-page", "follow-up pages break off in their middle", "search pages",
        _small_pages, edges.follow_up_pages, lambda: edges.ends(Ending.CUT),
    ),
    Fault(
        "page-outcome", "follow-up pages are 200 with an OperationOutcome", "search pages",
        _small_pages, edges.follow_up_pages, edges.outcome_instead,
    ),
    Fault(
        "slow-pages", "every search page takes 150 ms longer", "search pages",
        _small_pages, edges.search_pages, lambda: edges.slow(SLOW_PAGE_SECONDS),
    ),
    Fault(
        "total-lies", "Bundle.total is the number of entries on the page", "search pages",
        _small_pages, edges.search_pages, edges.total_lies,
    ),
    Fault(
        "other-patient-in-page", "one document about somebody else is among ours", "search pages",
        reach=edges.document_searches, edge=edges.other_patient,
    ),
    Fault(
        "refuse-diagnostic-reports", "403 on everything about DiagnosticReport", "EHR",
        reach=edges.diagnostic_reports,
        edge=lambda: edges.refuses(403, "forbidden", "the client may not see this type"),
    ),
    Fault(
        "token-expires", f"a token dies after {TOKEN_USES} requests", "login",
        lambda rules: replace(rules, token_uses=TOKEN_USES),
    ),
    Fault(
        "two-candidates", "a second patient has the same name, birth date and number", "chart",
        lambda rules: replace(rules, shows_decoy=True),
    ),
    Fault(
        "foreign-attachment", "one document's attachment lies on another origin", "chart",
        lambda rules: replace(rules, foreign_attachment=True),
    ),
    Fault(
        "slow-images", "every image takes 50 ms longer", "PACS",
        lambda rules: replace(rules, image_delay_seconds=SLOW_IMAGE_SECONDS),
    ),
    Fault(
        "pacs-forgets", f"every retrieve hands out {FORGOTTEN} images fewer than listed", "PACS",
        lambda rules: replace(rules, hand_out=_forgets),
    ),
    Fault(
        "no-get", "C-GET is not offered", "PACS",
        lambda rules: replace(rules, offers_get=False),
    ),
    Fault(
        "no-wado", "DICOMweb answers 404", "DICOMweb",
        reach=edges.dicomweb, edge=lambda: edges.refuses(404, "not-found", "nothing here"),
    ),
    Fault(
        "wado-broken-stream", "the multipart stream ends in its middle", "DICOMweb",
        reach=edges.dicomweb, edge=edges.broken_stream,
    ),
    Fault(
        "accept-then-timeout", "a document is stored, then the connection closes", "create",
        reach=edges.document_creates, edge=edges.silence_after_commit,
    ),
    Fault(
        "create-500-after-commit", "a document is stored, then 500 is answered", "create",
        reach=edges.document_creates, edge=edges.failure_after_commit,
    ),
    Fault(
        "create-refused", "documents are refused with 422", "create",
        reach=edges.document_creates,
        edge=lambda: edges.refuses(422, "business-rule", "documents are not taken"),
    ),
    Fault(
        "rewrites-document", "a stored document loses its identifiers and its author", "create",
        lambda rules: replace(rules, keep_document=_rewritten),
    ),
    Fault(
        "index-lag", f"the search finds new documents only after {LAG_SECONDS:g} s", "create",
        lambda rules: replace(rules, index_lag_seconds=LAG_SECONDS),
    ),
)  # fmt: skip
NAMES = tuple(fault.name for fault in FAULTS)


def chosen(names: Iterable[str]) -> tuple[Fault, ...]:
    """The rows of these names, in table order; raises ValueError naming those that exist."""
    wanted = set(names)
    if unknown := wanted - set(NAMES):
        raise ValueError(f"unknown fault {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    return tuple(fault for fault in FAULTS if fault.name in wanted)


def rules_with(faults: Iterable[Fault]) -> Rules:
    """The healthy rules, changed by each fault."""
    rules = Rules()
    for fault in faults:
        rules = fault.rules(rules)
    return rules


def edged(app: ASGIApp, faults: Iterable[Fault]) -> ASGIApp:
    """The app behind every fault that shows on the wire."""
    for fault in faults:
        if fault.edge is not None:
            app = edges.around(app, fault.reach, fault.edge())
    return app
