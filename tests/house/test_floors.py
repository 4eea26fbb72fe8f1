"""An import may only go down: the floors as import-linter sees them, and what only it may know."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SOURCE = PROJECT / "src" / "fhir_bridge"
# HOUSE.md: a library is known to these rooms only.
KNOWN_TO = {
    "dbos": {"workflows"},
    "fastapi": {"servers", "simulators", "service.py"},
    "starlette": {"servers", "simulators", "service.py"},
    "sqlalchemy": {"store"},
    "alembic": {"store"},
    "httpx2": {"clients/http.py"},
    "pynetdicom": {"clients/dimse.py", "clients/dimse_rows.py", "servers/dimse", "simulators"},
    "fhir.resources": {"standards/fhir"},
    "joserfc": {"security", "clients/smart.py", "simulators"},
    "cryptography": {"security", "simulators/community.py"},
    "typst": {"pipeline/opinion"},
}
STANDARD_LIBRARY_ONLY = ("case", "errors.py", "clock.py")
HEAVY = {"pydicom", "typst", "fastapi", "fhir", "numpy", "sqlalchemy", "dbos", "httpx2", "joserfc"}


def _imports() -> dict[str, set[str]]:
    """Module path -> every module that it names in an import, at the top or inside."""
    found: dict[str, set[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        named: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                named |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        found[path.relative_to(SOURCE).as_posix()] = named
    return found


IMPORTS = _imports()


def test_import_linter_holds_every_floor():
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_floors_are_exhaustive_so_that_a_new_room_must_be_declared():
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (floors,) = [c for c in contracts["contracts"] if c["type"] == "layers"]
    assert floors["exhaustive"] is True
    declared = {room.strip() for floor in floors["layers"] for room in floor.split("|")}
    rooms = {path.stem for path in SOURCE.iterdir() if _is_room(path)}
    assert declared == rooms


@pytest.mark.parametrize("library", KNOWN_TO)
def test_a_library_is_known_only_where_it_belongs(library):
    strangers = {
        module
        for module, named in IMPORTS.items()
        if any(name == library or name.startswith(f"{library}.") for name in named)
        and not any(module == room or module.startswith(f"{room}/") for room in KNOWN_TO[library])
    }
    assert strangers == set()


def test_the_programmes_own_words_need_the_standard_library_only():
    foreign = {
        (module, name)
        for module, named in IMPORTS.items()
        if module.startswith(STANDARD_LIBRARY_ONLY)
        for name in named
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not name.startswith(("fhir_bridge.case", "fhir_bridge.errors"))
    }
    assert foreign == set()


def test_what_every_command_needs_is_quick_to_import():
    """`fhir-bridge --help` must not wait for image and database libraries."""
    code = "import sys, fhir_bridge.cli, fhir_bridge.case.case; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not HEAVY & {name.partition(".")[0] for name in loaded}


def test_the_clock_and_chance_come_in_as_parameters():
    """In case, standards and pipeline: the same evidence gives the same bytes."""
    read: dict[str, set[str]] = defaultdict(set)
    clocks = {"datetime.now", "datetime.utcnow", "date.today", "time.time", "uuid.uuid4", "uuid4"}
    for path in SOURCE.rglob("*.py"):
        module = path.relative_to(SOURCE).as_posix()
        if module.startswith(("case/", "standards/", "pipeline/")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in clocks:
                    read[module].add(ast.unparse(node.func))
            if {"random", "secrets"} & IMPORTS[module]:
                read[module].add("random")
    assert dict(read) == {}


def test_a_need_of_a_stage_is_a_small_protocol():
    """At most five methods; a property is a fact and not counted."""
    large = {}
    for path in (SOURCE / "pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases):
                methods = [
                    n for n in node.body if isinstance(n, ast.FunctionDef) and not n.decorator_list
                ]
                if len(methods) > 5:
                    large[f"{path.relative_to(SOURCE)} {node.name}"] = len(methods)
    assert large == {}


def _is_room(path: Path) -> bool:
    return path.name not in {"__init__.py", "__pycache__"} and (
        path.suffix == ".py" or (path.is_dir() and (path / "__init__.py").exists())
    )
