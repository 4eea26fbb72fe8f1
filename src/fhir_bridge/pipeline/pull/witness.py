"""The second witness: the question asked again in parts, where its own count proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from urllib.parse import parse_qsl

from fhir_bridge.case.certificate import COMPLETE, Count, Evidence, Grade, grade
from fhir_bridge.case.events import Happened
from fhir_bridge.case.record import Json
from fhir_bridge.case.slice import Page, Slice
from fhir_bridge.errors import BridgeError
from fhir_bridge.pipeline.pull import pages, slicings
from fhir_bridge.pipeline.pull.obeying import DATES, day, span, strays
from fhir_bridge.pipeline.pull.reading import WIDER, Brought, read, searchset
from fhir_bridge.pipeline.pull.source import Ehr, Source

DATE, STATUS, CATEGORY, ID, EVERYTHING = (
    "by date", "by status", "by category", "by id", "$everything",
)  # fmt: skip
# The order of trust; each with the most requests that it may cost, about sixty in all.
WITNESSES = {pages.COUNT: 1, DATE: 36, STATUS: 10, CATEGORY: 6, ID: 5, EVERYTHING: 6}
PIECE = 8  # requests of one call of `check`
GAP = "undated-unseen"  # in a witness's own notes: its cut has a gap
SAMPLE = 400  # records that are looked at to cut the parts evenly
NEIGHBOURS = 10
IDS = 200


def wanted(slice_: Slice) -> bool:
    """
    Whether a slice needs a second witness: nothing confirms it, or its number is suspiciously
    that of whole pages.
    """
    evidence = slice_.evidence
    asked = slice_.question and not (evidence.not_asked or evidence.refused)
    if not (slice_.ended and asked) or "$" in slice_.type:
        return False
    return grade(evidence) not in COMPLETE or _is_whole_pages(slice_)


def _is_whole_pages(slice_: Slice) -> bool:
    """A list that was cut at a page, with a total that hides it, looks like this."""
    held, page = slice_.evidence.obtained, slice_.evidence.page_size
    counts = [value for name, value in slice_.question if name == "_count"]
    return bool(held) and (
        str(held) in counts or (slice_.pages > 1 and page > 0 and held % page == 0)
    )


def check(source: Source, ehr: Ehr, type_: str) -> bool:
    """
    A bounded piece of work for a slice's second witness; True while there is more.

    Everything is committed request by request: the parts that are left, in a slice of the
    witness's own (`DocumentReference~by date`, never printed), and what it brought. A witness
    that is refused, or keeps silent, is none, and no failure. Raises StoreError.
    """
    first = source.shelf.slice(source.case.id, source.id, type_)
    # Looked at by several witnesses, and dear: the records are read again from what arrived.
    held = cache(lambda: _held(source, first) if first else ())
    for _ in range(PIECE):
        now = source.shelf.slice(source.case.id, source.id, type_)
        if now is None or not wanted(now) or not _go_on(source, ehr, now, held):
            return False
    return True


Held = Callable[[], Sequence[Json]]


def _go_on(source: Source, ehr: Ehr, now: Slice, held: Held) -> bool:
    """The next request of the first witness that has not said all; False when none is left."""
    done = source.shelf.slice(source.case.id, source.id, f"{now.type}~")
    if done is not None and done.run == now.run:
        return False
    for name in WITNESSES:
        notes = source.shelf.slice(source.case.id, source.id, f"{now.type}~{name}")
        if notes is not None and notes.run == now.run and notes.ended:
            continue
        if _is_settled(now):
            return False
        if name == pages.COUNT:
            if any(count.witness == pages.COUNT for count in now.evidence.counts):
                continue
            pages.recount(source, ehr, now.type)
            source.shelf.turn(Page(replace(_fresh(now, name), ended=True)))
            return True
        known = notes if notes is not None and notes.run == now.run else None
        notes = known or _begin(source, ehr, now, name, held)
        if known is None and not _Parts.of(notes).windows:
            continue  # it has nothing to say here
        if _Parts.of(notes).windows:
            notes = _ask(source, ehr, now, notes, name)
        if not _Parts.of(notes).windows:
            _conclude(source, now, notes, name)
        return True
    source.shelf.turn(Page(replace(_fresh(now, ""), ended=True)))
    return False


def _is_settled(now: Slice) -> bool:
    lists = any(count.witness in WITNESSES.keys() - {pages.COUNT} for count in now.evidence.counts)
    return grade(now.evidence) in COMPLETE and (lists or not _is_whole_pages(now))


@dataclass(frozen=True, slots=True)
class _Parts:
    """
    How far a witness is, as it lies in `Slice.visited`: the parts left as queries, how many of
    those done held anything, the ids that the page chain had not shown, the pages turned.
    """

    windows: tuple[str, ...] = ()
    populated: int = 0
    new: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    @classmethod
    def of(cls, notes: Slice) -> _Parts:
        by: dict[str, list[str]] = {"?": [], "=": [], "+": [], "@": []}
        for one in notes.visited:
            by[one[0]].append(one[1:])
        return cls(tuple(by["?"]), len(by["="]), tuple(by["+"]), tuple(by["@"]))

    def visited(self) -> tuple[str, ...]:
        return (
            *(f"?{one}" for one in self.windows),
            *("=" for _ in range(self.populated)),
            *(f"+{one}" for one in self.new),
            *(f"@{one}" for one in self.marks),
        )


def _fresh(now: Slice, name: str, windows: Sequence[str] = ()) -> Slice:
    # No question: to whoever looks for open slices this is none.
    visited = _Parts(tuple(windows)).visited()
    return Slice(now.case_id, now.source, f"{now.type}~{name}", run=now.run, visited=visited)


def _begin(source: Source, ehr: Ehr, now: Slice, name: str, held: Held) -> Slice:
    """A witness with its parts; without any where it could say nothing."""
    kind, asked = now.kind, {parameter for parameter, _ in now.whole}
    short = grade(now.evidence) is Grade.SHORT
    windows: Sequence[str] = []
    if name == DATE and kind in DATES:
        windows = _dates(source, now, held(), short=short)
    elif name == STATUS and "status" not in asked:
        windows = slicings.by_status(kind)
        seen = {str(resource.get("status")) for resource in held()}
        windows = windows if short or len(seen) > 1 else []
    elif name == CATEGORY and "category" not in asked:
        windows = slicings.by_category(held())
        windows = windows if short or len(windows) > 1 else []
    elif name == ID and short:
        ids = {key.id for key in source.files.keys(source.case.id, source.id, kind)}
        windows = slicings.by_id(sorted(source.shelf.unlisted(now, ids))[:IDS])
    elif name == EVERYTHING and asked <= {"patient", "_count"} and _offers_everything(source, ehr):
        windows = [f"/Patient/{source.pin().patient_id}/$everything?_type={kind}"]
    return _fresh(now, name, windows)


def _dates(source: Source, now: Slice, held: Sequence[Json], *, short: bool) -> Sequence[str]:
    if not short and len({day(resource) for resource in held} - {""}) < 2:
        return []
    # Half a page of what is held: a part that fills a page is one that may have been cut.
    share = len(held) / max(now.evidence.obtained, 1)
    each = max(1, int(now.evidence.page_size * share / 2))
    born, today = source.case.person.birth_date, source.now().date().isoformat()
    dated = slicings.by_date(now.kind, held, each=each, born=born, today=today)
    # What has no date is in no window: only with these is the cut without a gap.
    return [*dated, slicings.undated(now.kind)] if dated else []


def _held(source: Source, now: Slice) -> Sequence[Json]:
    keys = source.files.keys(source.case.id, source.id, now.kind)
    apart = 1 + len(keys) // SAMPLE
    # Neighbours came in one answer, and it is read once for all of them.
    some = [key for place, key in enumerate(keys) if place // NEIGHBOURS % apart == 0]
    found = source.files.sighted(source.case.id, some) if some else ()
    return [one.resource for one in found if not strays(one.resource, now.whole)]


def _offers_everything(source: Source, ehr: Ehr) -> bool:
    try:
        return "everything" in ehr.capability().operations.get("Patient", frozenset())
    except BridgeError as error:
        if source.waits_out(error):
            raise
        return False


def _ask(source: Source, ehr: Ehr, now: Slice, notes: Slice, name: str) -> Slice:
    """One request for the part in hand, committed with what it brought."""
    window = _Parts.of(notes).windows[0]
    path, _, query = window.rpartition("?") if window.startswith("/") else ("", "", window)
    part = tuple(parse_qsl(query))
    question = (*now.whole, *(() if path else part))
    try:
        if notes.cursor:
            answer = ehr.follow(notes.cursor, previous=notes.previous)
        elif path:
            answer = ehr.search(path.lstrip("/"), part)
        else:
            answer = ehr.search(now.type.partition("?")[0], question)
        came = searchset(answer, ehr, tolerant=True)
        brought = read(source, ehr, now.kind, question, answer, came)
    except BridgeError as error:
        if source.waits_out(error):
            raise
        after = _silent(notes, error, undated=slicings.is_undated(window))
        page = Page(notes)
    else:
        after = _after(source, now, notes, brought, name)
        after = replace(after, previous=answer.original.id)
        page = brought.page(after)
    seen = source.event(Happened.PAGE_STORED, type=now.type, got=now.evidence.obtained)
    source.shelf.turn(replace(page, slice=after), seen)
    return after


def _silent(notes: Slice, error: BridgeError, *, undated: bool) -> Slice:
    """A part that was refused; without the undated ones the others still show what they hold."""
    if not undated:
        return _flawed(notes, f"silent: {error.code}")
    parts = replace(_Parts.of(notes), windows=_Parts.of(notes).windows[1:])
    return replace(_with_a_gap(notes), cursor="", visited=parts.visited())


def _with_a_gap(notes: Slice) -> Slice:
    return replace(notes, evidence=replace(notes.evidence, findings=(GAP,)))


def _flawed(notes: Slice, why: str) -> Slice:
    """A witness that cannot say all: what it showed counts, its list does not."""
    parts = replace(_Parts.of(notes), windows=())
    evidence = replace(notes.evidence, broken=why)
    return replace(notes, cursor="", visited=parts.visited(), evidence=evidence)


def _after(source: Source, now: Slice, notes: Slice, brought: Brought, name: str) -> Slice:
    """How far the witness is after an answer."""
    parts, came = _Parts.of(notes), brought.came
    distinct = len(source.shelf.unlisted(notes, brought.listed))
    new = source.shelf.unlisted(now, brought.listed).difference(parts.new)
    rest, cursor, flaw = parts.windows[1:], "", _flaw(brought, name, parts)
    undated = slicings.is_undated(parts.windows[0])
    if undated and flaw:
        notes, flaw, came = _with_a_gap(notes), "", replace(came, next_link="")
    gap = undated and GAP in notes.evidence.findings
    fills = brought.entries >= max(now.evidence.page_size, 1)
    full = not gap and (bool(came.next_link) or fills)
    split = _split(now, notes, brought, name) if full else ()
    if split:
        rest = (*split, *rest)
    elif came.next_link:
        rest, cursor = parts.windows, came.next_link
    elif full and name != ID:
        flaw = flaw or "cut at a page"
    marks = (*parts.marks, *([pages.mark(cursor)] if cursor else []))
    if notes.pages + 1 >= WITNESSES[name] and rest:
        flaw = flaw or "too many requests"
    populated = parts.populated + int(bool(brought.listed) and not (cursor or split))
    after = replace(
        notes,
        cursor=cursor,
        pages=notes.pages + 1,
        visited=_Parts(rest, populated, (*parts.new, *sorted(new)), marks).visited(),
        evidence=replace(notes.evidence, obtained=notes.evidence.obtained + distinct),
    )
    return _flawed(after, flaw) if flaw else after


def _split(now: Slice, notes: Slice, brought: Brought, name: str) -> Sequence[str]:
    """
    A part of dates cut in two where it fills a page: a chain of pages is what is in doubt here.

    Not in the middle of a chain, and not where the parts would be too many to ask for.
    """
    left = WITNESSES[name] - notes.pages - 1 - len(_Parts.of(notes).windows)
    if name != DATE or notes.cursor or left < 1:
        return ()
    days = [day(entry.resource) for entry in brought.came.matches]
    return slicings.halves(_Parts.of(notes).windows[0], DATES[now.kind][0], days)


def _flaw(brought: Brought, name: str, parts: _Parts) -> str:
    """Why an answer makes the witness none: it does not obey its own cut, or is not whole."""
    unasked = name == DATE and any(
        (span(e.resource) is None) is not slicings.is_undated(parts.windows[0])
        for e in brought.came.matches
    )
    if unasked or not WIDER.isdisjoint(brought.findings):
        return "not obeyed"
    if brought.warnings or brought.odd:
        return "not whole"
    return "looping" if pages.mark(brought.came.next_link) in parts.marks else ""


def _conclude(source: Source, now: Slice, notes: Slice, name: str) -> None:
    """What the witness showed becomes obtained, and its list stands beside the other counts."""
    parts = _Parts.of(notes)
    fresh = source.shelf.unlisted(now, parts.new)
    found = ("fetched-by-id" if name == ID else "found-by-witness",) if parts.new else ()
    evidence = replace(
        now.evidence,
        obtained=now.evidence.obtained + len(fresh),
        findings=tuple(sorted({*now.evidence.findings, *found})),
    )
    if notes.pages and name != ID:
        # One part that holds everything is the same question once more, and no other witness.
        gapless = not notes.evidence.broken and GAP not in notes.evidence.findings
        # Only the categories that were seen are asked for: others stay out of its list.
        gapless = gapless and name != CATEGORY
        whole = gapless and (parts.populated > 1 or name == EVERYTHING)
        evidence = _testified(evidence, name, notes.evidence.obtained, whole=whole)
    source.shelf.turn(Page(replace(now, evidence=_revised(evidence)), listed=frozenset(fresh)))
    source.shelf.turn(Page(replace(notes, ended=True)))


def _testified(evidence: Evidence, name: str, listed: int, *, whole: bool) -> Evidence:
    """A list that lacks what we hold is no witness; one that is whole mends a broken chain."""
    agrees = whole and listed == evidence.obtained
    others = tuple(count for count in evidence.counts if count.witness != name)
    count = Count(name, listed, after=True, trusted=agrees, ids_agree=agrees if whole else None)
    evidence = replace(evidence, counts=(*others, count))
    if not (agrees and evidence.broken):
        return evidence
    noted = {*evidence.findings, "chain-broken", "chain-mended"}
    return replace(evidence, broken="", findings=tuple(sorted(noted)))


def _revised(evidence: Evidence) -> Evidence:
    """A number below what has been found since is not believed any more."""
    low = [count for count in evidence.counts if count.trusted and count.said < evidence.obtained]
    if not low:
        return evidence
    counts = tuple(replace(c, trusted=c.trusted and c not in low) for c in evidence.counts)
    noted = {*evidence.findings, "total-too-low"}
    return replace(evidence, counts=counts, findings=tuple(sorted(noted)))
