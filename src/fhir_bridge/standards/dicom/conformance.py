"""The tables of dicom/conformance-statement.md, generated from the files that the service reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from fhir_bridge import tables
from fhir_bridge.standards.dicom import part10

_MARKED = re.compile(
    r"(<!-- table: (?P<name>[a-z-]+) -->\n)(?P<table>.*?)(<!-- end -->)", re.DOTALL
)


def refreshed(statement: str) -> str:
    """
    The statement with every table between `<!-- table: NAME -->` and `<!-- end -->` made anew.

    Raises KeyError for a name that no table has.
    """
    return _MARKED.sub(_fill, statement)


def main() -> None:
    """Rewrite dicom/conformance-statement.md in place: python -m ...standards.dicom.conformance."""
    path = tables.folder("dicom", "conformance-statement.md")
    path.write_text(refreshed(path.read_text(encoding="utf-8")), encoding="utf-8")


def _fill(found: re.Match[str]) -> str:
    return f"{found[1]}\n{TABLES[found['name']]()}\n{found[4]}"


def _table(head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


def _implementation() -> str:
    names = (
        ("Implementation Class UID", part10.IMPLEMENTATION_CLASS_UID),
        ("Implementation Version Name", part10.IMPLEMENTATION_VERSION),
    )
    return _table(("Name", "Value"), names)


def _storage() -> str:
    rows = [r for r in tables.rows("dicom", "sop-classes.csv") if r["scp"] == "yes"]
    shown = ((r["name"], r["uid"], r["becomes"], r["note"]) for r in rows)
    return _table(("SOP Class", "UID", "Becomes", "Note"), shown)


def _retrieved() -> str:
    rows = [r for r in tables.rows("dicom", "sop-classes.csv") if r["scu_get"] == "yes"]
    return _table(("SOP Class", "UID"), ((r["name"], r["uid"]) for r in rows))


def _syntaxes() -> str:
    rows = [r for r in tables.rows("dicom", "transfer-syntaxes.csv") if r["accept"] == "yes"]
    shown = ((r["name"], r["uid"], r["prefer"], r["kept_as_sent"]) for r in rows)
    return _table(("Transfer Syntax", "UID", "Proposed by us as", "Kept as sent"), shown)


def _query_keys() -> str:
    rows = tables.rows("dicom", "query-keys.csv")
    return _table(
        ("Level", "Tag", "Keyword", "VR", "Matching", "Returned"),
        (
            (r["level"], _tag(r["tag"]), r["keyword"], r["vr"], r["match"], r["return"])
            for r in rows
        ),
    )


def _status_codes() -> str:
    rows = tables.rows("dicom", "status-codes.csv")
    return _table(
        ("Service", "Status", "Meaning", "Tried again"),
        ((r["service"], r["hex"], r["meaning"], r["retry"]) for r in rows),
    )


def _imaging_study() -> str:
    rows = tables.rows("dicom", "imaging-study.csv")
    return _table(
        ("Level", "Tag", "Keyword", "FHIR element", "As", "When absent", "Note"),
        (_element(row) for row in rows),
    )


def _element(row: tables.Row) -> tuple[str, ...]:
    source = row["level"], _tag(row["tag"]), row["keyword"]
    return (*source, f"ImagingStudy.{row['fhir_path']}", row["as"], row["if_absent"], row["note"])


def _coercions() -> str:
    rows = tables.rows("dicom", "coercions.csv")
    if not rows:
        return "None: nothing in a received object is changed.\n"
    return _table(tuple(rows[0]), (tuple(row.values()) for row in rows))


def _tag(tag: str) -> str:
    return f"({tag[:4]},{tag[4:]})"


TABLES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "implementation": _implementation,
        "storage": _storage,
        "retrieved": _retrieved,
        "transfer-syntaxes": _syntaxes,
        "query-keys": _query_keys,
        "status-codes": _status_codes,
        "imaging-study": _imaging_study,
        "coercions": _coercions,
    }
)


if __name__ == "__main__":
    main()
