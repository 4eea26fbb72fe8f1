"""The words of the house: names that say what happens, and nothing that may not be there."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SOURCE = PROJECT / "src" / "fhir_bridge"
FILES = sorted(SOURCE.rglob("*.py"))

EMPTY_WORDS = re.compile(
    r"(^|_)(process|handlers?|handle|utils?|helpers?|misc|managers?|data)(_|$)"
)
# Names that others gave and that we have to use, each with who gave it.
GIVEN_NAMES = {
    "process_bind_param": "SQLAlchemy calls a TypeDecorator by it",
    "process_result_value": "SQLAlchemy calls a TypeDecorator by it",
    "_handlers": "pynetdicom calls its table of events so",
    "handle_events": "pynetdicom's own word in the simulator",
    "CaseManager": "the nurse who runs the case",
}
# Modules that start another program, each with why; never through a shell.
MAY_START_PROGRAMS = {
    "pipeline/receive/preview.py": "pixels are decoded in a child that may be killed",
    "simulators/hospital.py": "the hospital in a box is a program of its own",
    "commands/simulate.py": "the same, from the command line",
    "demo.py": "the same, for the demo",
}
# Who speaks JSON without our door, each with why.
MAY_READ_JSON_ITSELF: dict[str, str] = {}
FORBIDDEN_CALLS = {"os.system", "os.popen", "eval", "exec", "yaml.load", "marshal.loads", "print"}
MAY_PRINT = (
    "commands/",
    "simulators/",
    "cli.py",
    "service.py",
    "demo.py",
    "standards/dicom/preview.py",
)
MACHINE = re.compile(r"(?<![\w.<])/(work|root|home|Users|tmp)/")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b|pragma: no cover")
EXCUSE = re.compile(r"#\s*(noqa|type:\s*ignore)(?P<rest>.*)$")
GOOD_EXCUSE = re.compile(
    r"(: [A-Z]+\d+(, [A-Z]+\d+)* \(.{3,}\)$)|(\[[a-z-]+(, [a-z-]+)*\]\s+# .{3,}$)"
)


def _place(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@cache
def _trees() -> tuple[tuple[str, ast.Module], ...]:
    return tuple((_place(path), ast.parse(path.read_text())) for path in FILES)


def _comments(path: Path) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name


def test_no_name_is_an_empty_word():
    bad = {
        f"{place} {name}"
        for place, tree in _trees()
        for name in (Path(place).stem, *_names(tree))
        if EMPTY_WORDS.search(_snake(name)) and name not in GIVEN_NAMES
    }
    assert bad == set()


def test_nothing_is_left_unfinished():
    bad = [f"{_place(p)}:{n}" for p in FILES for n, line in _lines(p) if UNFINISHED.search(line)]
    assert bad == []


def test_every_module_says_what_a_newcomer_meets_in_it():
    for place, tree in _trees():
        words = ast.get_docstring(tree) or ""
        assert words, place
        assert words.splitlines()[0].endswith((".", ":")), place


def test_everything_public_says_what_it_promises():
    silent = [
        f"{place} {node.name}"
        for place, tree in _trees()
        for node in _public(tree)
        if not ast.get_docstring(node)
    ]
    assert silent == []


def test_every_module_postpones_its_annotations():
    late = "from __future__ import annotations"
    bad = [_place(p) for p in FILES if _has_annotations(p) and late not in p.read_text()]
    assert [place for place in bad if not place.startswith("store/migrations/")] == []


@pytest.mark.parametrize("path", FILES, ids=_place)
def test_an_excuse_names_its_rule_and_its_reason(path):
    for line, comment in _comments(path):
        excuse = EXCUSE.search(comment)
        if excuse:
            assert GOOD_EXCUSE.search(excuse["rest"]), f"{_place(path)}:{line} {comment}"


def test_no_path_of_a_machine_is_written_down():
    bad = [f"{_place(p)}:{n}" for p in FILES for n, line in _lines(p) if MACHINE.search(line)]
    assert bad == []


def test_programs_are_started_where_it_is_declared_and_never_by_a_shell():
    starters = set()
    for place, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import) and any(a.name == "subprocess" for a in node.names):
                starters.add(place)
            if isinstance(node, ast.ImportFrom) and node.module == "subprocess":
                starters.add(place)
            if isinstance(node, ast.keyword) and node.arg == "shell":
                pytest.fail(f"{place}:{node.value.lineno} asks for a shell")
    assert starters <= set(MAY_START_PROGRAMS)


def test_nothing_is_called_that_runs_code_or_prints():
    bad = {
        f"{place}:{node.lineno} {name}"
        for place, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (name := ast.unparse(node.func)) in FORBIDDEN_CALLS
        and not (name == "print" and place.startswith(MAY_PRINT))
    }
    assert bad == set()


def test_no_module_reads_what_runs_code():
    for place, tree in _trees():
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"pickle", "shelve", "marshal", "dill"} & set(names), place
            if "json" in names:
                assert place in MAY_READ_JSON_ITSELF, f"{place}: use standards.fhir.json"


def test_the_lists_of_exceptions_are_not_longer_than_they_need_to_be():
    places = {_place(path) for path in FILES}
    assert set(MAY_START_PROGRAMS) | set(MAY_READ_JSON_ITSELF) <= places
    names = {name for _, tree in _trees() for name in _names(tree)}
    assert set(GIVEN_NAMES) - {"CaseManager"} <= names


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    return enumerate(path.read_text().splitlines(), start=1)


def _has_annotations(path: Path) -> bool:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.AnnAssign)
    return any(isinstance(node, kinds) for node in ast.walk(ast.parse(path.read_text())))


def _public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Public classes and functions of a module, and the public methods of those classes."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (
                    n for n in node.body if isinstance(n, kinds) and not n.name.startswith("_")
                )
