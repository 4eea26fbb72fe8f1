"""The opinion: what the specialist finished, section by section, and the evidence it rests on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its Markdown text."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Cited:
    """A record that the specialist relied on, pinned: entry in the case record, version, hash."""

    entry: str
    title: str
    version: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Author:
    """The specialist who answers for the opinion."""

    name: str
    qualification: str = ""
    organisation: str = ""


@dataclass(frozen=True, slots=True)
class Opinion:
    """
    A finished opinion. Immutable once signed; a correction is a new version that replaces it.

    `date` is the literal that the specialist wrote (YYYY-MM-DD). `record_sha256` is the case
    record that was read.
    """

    id: str
    case_id: str
    version: int
    title: str
    author: Author
    date: str
    sections: tuple[Section, ...]
    cited: tuple[Cited, ...] = ()
    record_sha256: str = ""
