"""Certificate and ledger: how complete a pull is, and the end of every record that was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import Response

from fhir_bridge.case.ledger import LedgerRow, RecordState, count_states
from fhir_bridge.security.access import Purpose
from fhir_bridge.servers.console import show, steps, words
from fhir_bridge.servers.console.casepage import frame
from fhir_bridge.servers.console.room import Room

PAGE = 200
_SORTS = {
    "state": lambda row: (row.state.value, str(row.key)),
    "kind": lambda row: (row.key.kind, row.key.id),
    "source": lambda row: (row.key.source, row.key.kind),
}


@dataclass(frozen=True, slots=True)
class Filter:
    """What of a ledger is shown; the values come from closed sets, so they may stand in a URL."""

    state: str = ""
    kind: str = ""
    source: str = ""
    sort: str = ""

    def keep(self, row: LedgerRow) -> bool:
        """Whether a row is shown."""
        return (
            self.state in ("", row.state.value)
            and self.kind in ("", row.key.kind)
            and self.source in ("", row.key.source)
        )

    def query(self, **changed: object) -> str:
        """The address of the same list with something changed."""
        values = {"state": self.state, "kind": self.kind, "source": self.source, "sort": self.sort}
        return urlencode({k: v for k, v in {**values, **changed}.items() if v})


class Evidence:
    """The two pages that prove what is here."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["console"])
        router.get("/cases/{case_id}/certificate", summary="How complete the pull is")(
            self.certificate
        )
        router.get("/cases/{case_id}/certificate.csv", summary="The certificate as CSV")(
            self.certificate_csv
        )
        router.get("/cases/{case_id}/ledger", summary="Every record seen")(self.ledger)
        router.get("/cases/{case_id}/ledger.csv", summary="The ledger as CSV")(self.ledger_csv)
        return router

    def certificate(self, request: Request, case_id: str) -> Response:
        """Per hospital and kind: what they said, what came, how sure we are."""
        found = frame(self._room, request, case_id)
        saying = words.overall(steps.grade(found.sources))
        return self._room.render(request, "certificate.html", frame=found, overall=saying)

    def certificate_csv(self, request: Request, case_id: str) -> Response:
        """The same for a spreadsheet."""
        found = frame(self._room, request, case_id)
        headers = ("source", "type", "said", "got", "grade", "words", "witnesses")
        rows = [
            (
                source.name,
                part.line.type,
                part.line.said,
                part.line.got,
                part.line.grade.value,
                part.saying.text,
                "; ".join(part.line.witnesses),
            )
            for source in found.sources
            for part in source.parts
        ]
        return show.spreadsheet("certificate.csv", headers, rows)

    def ledger(
        self,
        request: Request,
        case_id: str,
        state: str = "",
        kind: str = "",
        source: str = "",
        sort: str = "",
        page: int = 1,
    ) -> Response:
        """One row for every record seen, with its one end."""
        found = frame(self._room, request, case_id)
        rows, wanted = self._room.store.ledgers.rows(case_id), Filter(state, kind, source, sort)
        kept = [row for row in rows if wanted.keep(row)]
        if sort in _SORTS:
            kept.sort(key=_SORTS[sort])
        pages = max(1, -(-len(kept) // PAGE))
        page = min(max(page, 1), pages)
        return self._room.render(
            request,
            "ledger.html",
            frame=found,
            rows=kept[(page - 1) * PAGE : page * PAGE],
            total=len(rows),
            shown=len(kept),
            wanted=wanted,
            page=page,
            pages=pages,
            states=_states(rows),
            kinds=sorted({row.key.kind for row in rows}),
            record_words=words.RECORD,
        )

    def ledger_csv(
        self, request: Request, case_id: str, state: str = "", kind: str = "", source: str = ""
    ) -> Response:
        """The same rows for a spreadsheet, unpaged."""
        case = self._room.open_case(request, case_id, Purpose.COLLECT)
        wanted = Filter(state, kind, source)
        headers = (
            "source",
            "kind",
            "id",
            "version",
            "state",
            "rule",
            "reason",
            "target",
            "entry",
            "error",
            "attempts",
            "sightings",
        )
        rows = [
            (
                row.key.source,
                row.key.kind,
                row.key.id,
                row.key.version,
                row.state.value,
                row.rule,
                row.reason,
                row.target,
                row.entry,
                row.error_code,
                row.attempts,
                row.sightings,
            )
            for row in self._room.store.ledgers.rows(case.id)
            if wanted.keep(row)
        ]
        return show.spreadsheet("ledger.csv", headers, rows)


def _states(rows: Sequence[LedgerRow]) -> Mapping[RecordState, int]:
    return {state: number for state, number in count_states(rows).items() if number}
