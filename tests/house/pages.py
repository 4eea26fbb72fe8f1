"""The documentation as a test reads it: pages, their links, their commands, their made tables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer.main
from typer.testing import CliRunner

from fhir_bridge.cli import app

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "fhir_bridge"
PAGES = tuple(
    sorted(
        [
            *ROOT.glob("*.md"),
            *ROOT.glob("docs/*.md"),
            *(ROOT / place / "README.md" for place in ("dicom", "mappings", "tests/peers")),
        ]
    )
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_FILE = re.compile(r"[\w.-]+(/[\w.-]+)*\.(py|csv|toml|md|typ|mk|lock|css|js)(::\w+)?")
_TABLE = re.compile(r"(<!-- table: ([\w-]+) -->\n\n)(.*?)(\n\n<!-- end -->)", re.DOTALL)
# A command that can be run here and now, whatever is installed: it asks nothing of a store.
_CHEAP = ("--help", "--faults")


@dataclass(frozen=True, slots=True)
class Shown:
    """One `$ fhir-bridge ...` of a console block: the words typed, and the output beneath."""

    words: tuple[str, ...]
    output: str

    @property
    def cheap(self) -> bool:
        """Whether a test may run it."""
        return bool(self.words) and self.words[-1] in _CHEAP


def name(page: Path) -> str:
    """A page's path from the root of the project."""
    return page.relative_to(ROOT).as_posix()


def read(page: str) -> str:
    """A page's text."""
    return (ROOT / page).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text)


def links(text: str) -> list[str]:
    """The targets of all links and pictures."""
    return _LINK.findall(prose(text))


def files_named(text: str) -> list[str]:
    """What stands in `code` and reads like a file of the project, maybe with `::name`."""
    return [code for code in _CODE.findall(prose(text)) if _FILE.fullmatch(code)]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as the usual viewers make them."""
    heads = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def blocks(text: str, kind: str) -> list[str]:
    """The fenced blocks of one kind."""
    return [body for found, body in _FENCE.findall(text) if found == kind]


def shown(block: str) -> Iterator[Shown]:
    """The commands of a console block."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, _, output = part.partition("\n")
        while line.endswith("\\"):
            more, _, output = output.partition("\n")
            line = line[:-1] + more
        words = re.findall(r"'[^']*'|\"[^\"]*\"|\S+", line.partition(" #")[0])
        yield Shown(tuple(words), output.rstrip("\n"))


def tables(text: str) -> dict[str, str]:
    """The tables between markers, by name."""
    return {found[1]: found[2] for found in _TABLE.findall(text)}


def with_table(text: str, wanted: str, body: str) -> str:
    """The page with one table made anew."""
    return _TABLE.sub(lambda m: m[1] + body + m[4] if m[2] == wanted else m[0], text)


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |".replace("  |", " |") for cells in lines)


@cache
def commands() -> dict[tuple[str, ...], Any]:
    """Every command of fhir-bridge by its words, groups too."""
    return dict(_walk((), typer.main.get_command(app)))


def _walk(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for verb, child in getattr(command, "commands", {}).items():
        yield from _walk((*path, verb), child)


def options(command: Any) -> set[str]:
    """The options of a command."""
    own = {text for parameter in command.params for text in parameter.opts if text[:1] == "-"}
    return own | {"--help", "-h"}


@cache
def said(words: tuple[str, ...]) -> str:
    """What a cheap command prints on a terminal of 80 columns."""
    runner = CliRunner()
    result = runner.invoke(app, list(words), env={"COLUMNS": "80"}, prog_name="fhir-bridge")
    assert result.exit_code == 0, result.output
    return "\n".join(line.rstrip() for line in result.output.rstrip("\n").split("\n"))


def candidates(file: str, page: Path) -> list[Path]:
    """Where a file that a page names may lie: beside the page, at the root, in the source."""
    return [start / file for start in (page.parent, ROOT, SOURCE, ROOT / "tests")]


def defines(file: Path, wanted: str) -> bool:
    """Whether a module defines a class, function, method or value of this name."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    named = {node.name for node in ast.walk(tree) if isinstance(node, kinds)}
    values = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and _stores(n)}
    return wanted in named | values


def _stores(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)
