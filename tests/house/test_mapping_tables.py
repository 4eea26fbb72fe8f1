"""The tables of mappings/ that a clinician reviews: readable, unambiguous, complete."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from fhir_bridge import tables
from fhir_bridge.case.case import SPECIALTIES
from fhir_bridge.standards.fhir.judge import judge
from fhir_bridge.standards.terminology.translate import concept_map, maps

FOLDER = tables.folder("mappings")
FILES = sorted(FOLDER.rglob("*.csv"))


def _name(path: Path) -> str:
    return path.relative_to(FOLDER).with_suffix("").as_posix()


MAP_COLUMNS = [
    *("source_system", "source_code", "source_display", "equivalence"),
    *("target_system", "target_code", "target_display", "section", "why", "reviewed_by"),
]
KEYS = {
    "chart-sections": ("order",),
    "opinion-sections": ("order",),
    "code-systems": ("alias",),
    "resource-types": ("type",),
    "section-rules": ("resource_type", "system", "code"),
    "searches": ("order",),
    "parts": ("type", "parameters"),
    "rules": ("rule",),
    "vendors": ("vendor", "element", "contains"),
}
MAPS = sorted(name for name, about in maps().items() if "url" in about)
EQUIVALENCE = {"equal", "equivalent", "wider", "narrower", "inexact", "unmatched"}
LOINC = re.compile(r"(?:LP)?\d{1,7}-\d")
TOKEN = re.compile(r"(loinc|v2-0074|category|modality|type|section):\S+")


def key_columns(path: Path) -> tuple[str, ...]:
    if path.parent.name == "completeness":
        return ("item",)
    return KEYS.get(path.stem, ("source_system", "source_code"))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def section_keys() -> set[str]:
    return {row["key"] for row in read(FOLDER / "chart-sections.csv")}


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_a_table_is_utf8_with_unix_lines_and_whole_rows(path):
    text = path.read_bytes().decode("utf-8")
    assert "\r" not in text
    assert text.endswith("\n")
    rows = list(csv.reader(text.splitlines()))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert all(cell == cell.strip() for row in rows for cell in row)


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_the_keys_of_a_table_are_unique_and_sorted(path):
    columns = key_columns(path)
    keys = [tuple(row[column] for column in columns) for row in read(path)]
    if columns == ("order",):
        keys = [(int(order),) for (order,) in keys]
    assert keys == sorted(set(keys))


def test_every_table_is_described_and_every_description_has_its_table():
    described = {name for name in maps() if name != "completeness"}
    described |= {f"completeness/{name}" for name in maps()["completeness"]}
    present = {path.relative_to(FOLDER).with_suffix("").as_posix() for path in FILES}
    ours = {name for name in present if not name.startswith("providers/")}
    assert described == ours


def test_every_specialty_has_its_checklist():
    assert {path.stem for path in (FOLDER / "completeness").glob("*.csv")} == set(SPECIALTIES)


@pytest.mark.parametrize("name", MAPS)
def test_a_map_has_the_columns_and_words_that_its_readme_explains(name):
    rows = read(FOLDER / f"{name}.csv")
    assert list(rows[0]) == MAP_COLUMNS
    assert {row["equivalence"] for row in rows} <= EQUIVALENCE
    assert all(row["why"] for row in rows if row["equivalence"] in {"narrower", "inexact"})
    assert {row["section"] for row in rows} <= section_keys() | {""}
    for row in rows:
        same = row["source_system"] == row["target_system"]
        assert (row["equivalence"] == "equal" and same) <= (
            row["source_code"] == row["target_code"]
        )


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_loinc_codes_are_well_formed(path):
    for row in read(path):
        sides = [s for s in ("source", "target") if row.get(f"{s}_system") == "http://loinc.org"]
        codes = [row.get("loinc_code", ""), *(row[f"{side}_code"] for side in sides)]
        assert all(LOINC.fullmatch(code) and _check_digit(code) for code in codes if code)


def _check_digit(code: str) -> bool:
    """LOINC codes end in a Luhn digit; those of parts (LP) are counted differently."""
    if code.startswith("LP"):
        return True
    number, digit = code.split("-")
    doubled = "".join(
        str(int(d) * 2) if index % 2 == 0 else d for index, d in enumerate(reversed(number))
    )
    return (10 - sum(map(int, doubled)) % 10) % 10 == int(digit)


def test_sections_that_rules_name_exist_and_the_last_is_completeness():
    rows = read(FOLDER / "chart-sections.csv")
    assert rows[0]["key"] == "question"
    assert rows[-1]["key"] == "completeness"
    for name in ("section-rules.csv", "resource-types.csv"):
        assert {row["section"] for row in read(FOLDER / name)} <= section_keys() | {""}


def test_what_a_checklist_accepts_can_be_found_in_a_record():
    for path in (FOLDER / "completeness").glob("*.csv"):
        for row in read(path):
            tokens = row["accepted"].split()
            assert tokens
            assert all(TOKEN.fullmatch(token) for token in tokens)
            assert row["max_age_days"].isdecimal() or not row["max_age_days"]
            assert row["why"]
            assert row["who_to_ask"]


@pytest.mark.parametrize("name", MAPS)
def test_a_map_is_published_as_a_valid_concept_map(name):
    published = concept_map(name)
    assert judge(published) == ()
    elements = [element for group in published["group"] for element in group["element"]]
    assert len(elements) == len(read(FOLDER / f"{name}.csv"))
