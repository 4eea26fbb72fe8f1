"""The specialist's text, read strictly: an error names the line and says what is expected there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any, Literal

from fhir_bridge.case.opinion import Author, Opinion, Section
from fhir_bridge.errors import RecordError, UsageError
from fhir_bridge.pipeline.opinion import markdown
from fhir_bridge.pipeline.opinion.evidence import CitableRecord, Named, pinned
from fhir_bridge.standards.fhir import json

MAX_BYTES = 256 * 1024
MAX_SECTIONS = 64
MAX_FACT = 300
FACTS = ("title", "author", "qualification", "organisation", "date")
_REQUIRED = ("title", "author", "date")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class _Draft:
    """What was read, before anything is resolved; `where` of each part leads back to the text."""

    facts: Mapping[str, str]
    places: Mapping[str, str]
    sections: Sequence[tuple[str, Section]]
    evidence: Sequence[Named]


def parse_opinion(
    text: bytes,
    *,
    kind: Literal["md", "json"],
    opinion_id: str,
    case_id: str,
    version: int,
    record: CitableRecord,
) -> Opinion:
    """
    Read an opinion; its evidence is pinned to entries of the case record that was read.

    Markdown: `title`, `author`, `date` (and `qualification`, `organisation`) between two `---`
    lines, then sections under `## Heading`; the list under `## Evidence` names the documents. JSON:
    the same facts, `sections` of title and text, `evidence` of names. Raises UsageError.
    """
    if len(text) > MAX_BYTES:
        raise UsageError(f"the opinion is larger than {MAX_BYTES} bytes")
    draft = _of_markdown(_lines(text)) if kind == "md" else _of_json(text)
    _check_facts(draft)
    _check_sections(draft)
    facts = draft.facts
    return Opinion(
        id=opinion_id,
        case_id=case_id,
        version=version,
        title=facts["title"],
        author=Author(
            facts["author"], facts.get("qualification", ""), facts.get("organisation", "")
        ),
        date=facts["date"],
        sections=tuple(section for _, section in draft.sections),
        cited=pinned(draft.evidence, record),
        record_sha256=record.sha256,
    )


def _lines(text: bytes) -> list[str]:
    try:
        lines = text.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except UnicodeDecodeError as error:
        broken = text.count(b"\n", 0, error.start) + 1
        raise UsageError(f"line {broken}: expected text in UTF-8") from None
    for number, line in enumerate(lines, 1):
        if _CONTROL.search(line):
            raise UsageError(f"line {number}: a control character; expected text")
    return lines


def _of_markdown(lines: list[str]) -> _Draft:
    if lines[0].strip() != "---":
        raise UsageError("line 1: expected '---', the opening of title, author and date")
    close = next((n for n, line in enumerate(lines[1:], 1) if line.strip() == "---"), None)
    if close is None:
        raise UsageError(f"line {len(lines)}: expected '---' after title, author and date")
    facts, places = _front_matter(lines[1:close])
    sections, evidence = [], []
    seen = False
    for where, title, begin, end in _sections(lines, close + 1):
        if title.casefold() != "evidence":
            sections.append((where, Section(title, "\n".join(lines[begin:end]).strip("\n"))))
        elif seen:
            raise UsageError(f"{where}: a second 'Evidence' section; expected one")
        else:
            seen = True
            evidence = list(_evidence(lines[begin:end], begin))
    return _Draft(facts, places, sections, evidence)


def _front_matter(lines: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    facts: dict[str, str] = {}
    places: dict[str, str] = {}
    for number, line in enumerate(lines, 2):
        key, colon, value = line.partition(":")
        key = key.strip().lower()
        if not line.strip():
            continue
        if not colon or key not in FACTS:
            raise UsageError(f"line {number}: expected one of {', '.join(FACTS)}, then ':'")
        if key in facts:
            raise UsageError(f"line {number}: '{key}' stands here twice; expected once")
        facts[key], places[key] = _unquoted(value.strip()), f"line {number}"
    return facts, places


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value


def _sections(lines: list[str], start: int) -> Iterator[tuple[str, str, int, int]]:
    """Each `## Heading` outside of lists and code: its place, its title, its text from and to."""
    found = markdown.tokens("\n".join(lines[start:]))
    heads = []
    for token, inline in pairwise(found):
        if token.type == "heading_open" and token.level == 0 and token.map:
            line = start + token.map[0]
            if token.tag == "h1":
                raise UsageError(f"line {line + 1}: expected '## ' before a section's heading")
            if token.tag == "h2":
                heads.append((line, inline.content.strip()))
    first = heads[0][0] if heads else len(lines)
    for number in range(start, first):
        if lines[number].strip():
            raise UsageError(f"line {number + 1}: expected a section, '## Heading', before text")
    ends = [*(line for line, _ in heads), len(lines)][1:]
    for (line, title), end in zip(heads, ends, strict=True):
        yield f"line {line + 1}", title, line + 1, end


def _evidence(lines: Sequence[str], begin: int) -> Iterator[Named]:
    """The items of the lists under Evidence, with their lines; anything else is refused."""
    in_item, deepest = False, 0
    for token in markdown.tokens("\n".join(lines)):
        if token.type == "list_item_open":
            in_item, deepest = True, token.level
        elif token.type == "inline":
            where = f"line {begin + (token.map or [0])[0] + 1}"
            if not in_item or deepest > 1:
                raise UsageError(f"{where}: expected a list, '- title of a document'")
            in_item = False
            parts = markdown.blocks(token.content)[0].get("parts", ())
            yield Named(where, markdown.plain(parts) or token.content)


def _of_json(text: bytes) -> _Draft:
    try:
        found = json.load_object(text, max_bytes=MAX_BYTES)
    except RecordError as error:
        raise UsageError(f"expected one JSON object ({error.detail})") from None
    unknown = found.keys() - {*FACTS, "sections", "evidence"}
    if unknown:
        raise UsageError(f"expected only {', '.join(FACTS)}, sections and evidence")
    facts = {key: _text(found[key], key).strip() for key in FACTS if key in found}
    sections = [
        (f"sections[{i}]", _section(s, f"sections[{i}]"))
        for i, s in enumerate(_list(found.get("sections", []), "sections"))
    ]
    evidence = [
        Named(f"evidence[{i}]", _text(item, f"evidence[{i}]"))
        for i, item in enumerate(_list(found.get("evidence", []), "evidence"))
    ]
    return _Draft(facts, {key: key for key in FACTS}, sections, evidence)


def _section(found: object, where: str) -> Section:
    if not isinstance(found, Mapping) or found.keys() != {"title", "text"}:
        raise UsageError(f"{where}: expected an object of title and text")
    text = _text(found["text"], f"{where}.text").replace("\r\n", "\n").replace("\r", "\n")
    return Section(_text(found["title"], f"{where}.title").strip(), text.strip("\n"))


def _list(found: object, where: str) -> list[Any]:
    if not isinstance(found, list):
        raise UsageError(f"{where}: expected a list")
    return found


def _text(found: object, where: str) -> str:
    if not isinstance(found, str):
        raise UsageError(f"{where}: expected text")
    if _CONTROL.search(found):
        raise UsageError(f"{where}: a control character; expected text")
    return found


def _check_facts(draft: _Draft) -> None:
    for key in _REQUIRED:
        if not draft.facts.get(key):
            raise UsageError(f"{draft.places.get(key, 'the head')}: '{key}' is missing")
    for key, value in draft.facts.items():
        if len(value) > MAX_FACT or "\n" in value:
            where = draft.places[key]
            raise UsageError(f"{where}: expected '{key}' on one line of {MAX_FACT} letters")
    written = draft.facts["date"]
    try:
        date.fromisoformat(written if _DATE.fullmatch(written) else "")
    except ValueError:
        raise UsageError(f"{draft.places['date']}: expected a date, YYYY-MM-DD") from None


def _check_sections(draft: _Draft) -> None:
    if not draft.sections:
        raise UsageError("the opinion has no section; expected '## Heading' and its text")
    if len(draft.sections) > MAX_SECTIONS:
        raise UsageError(f"more than {MAX_SECTIONS} sections")
    for where, section in draft.sections:
        if not section.title or len(section.title) > MAX_FACT or "\n" in section.title:
            raise UsageError(f"{where}: expected a heading of 1 to {MAX_FACT} letters")
        if section.title.casefold() == "evidence":
            raise UsageError(f"{where}: expected the documents in 'evidence'")
        if not section.text.strip():
            raise UsageError(f"{where}: the section is empty; expected its text")
        if markdown.depth(section.text) > markdown.MAX_DEPTH:
            raise UsageError(f"{where}: lists or quotes are nested too deeply")
