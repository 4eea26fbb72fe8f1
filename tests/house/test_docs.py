"""The documentation says what the code does: a page that went out of date fails here.

What is made from code (tables between markers, the output of `--help`) is written anew by
`FHIR_BRIDGE_DOCS=write pytest tests/house/test_docs.py`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from fhir_bridge import errors, exits
from fhir_bridge.bridge import Bridge
from fhir_bridge.case.findings import FINDINGS
from fhir_bridge.logs import ALLOWED
from fhir_bridge.servers.problems import _STATUS
from fhir_bridge.service import make_web
from fhir_bridge.settings import Settings

from . import pages

EXAMPLE = pages.ROOT / "fhir-bridge.example.toml"
WRITE = os.environ.get("FHIR_BRIDGE_DOCS") == "write"
MEND = "mend it with: FHIR_BRIDGE_DOCS=write .venv/bin/python -m pytest tests/house/test_docs.py"
EVERY_PAGE = pytest.mark.parametrize("page", pages.PAGES, ids=pages.name)


def tree(root: type[errors.BridgeError] = errors.BridgeError) -> Iterator[type[errors.BridgeError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


# -- what is made from code ------------------------------------------------------------------------


def default(field: Any) -> str:
    value = field.default
    plain = value.get_secret_value() if isinstance(value, SecretStr) else value
    return f"`{plain}`" if str(plain) not in ("", "None") else "empty"


def settings_table(_: Path) -> str:
    fields = Settings.model_fields.items()
    return pages.table(
        ("variable", "default", "meaning"),
        ((f"`FHIR_BRIDGE_{n.upper()}`", default(f), str(f.description)) for n, f in fields),
    )


def findings_table(_: Path) -> str:
    rows = ((f"`{one.code}`", one.nurse, one.engineer) for one in FINDINGS.values())
    return pages.table(("finding", "for the nurse", "for the engineer"), rows)


def routes_table(folder: Path) -> str:
    settings = Settings.load(data=folder / "data", port=0, dimse_port=0, database_url="")
    with Bridge.open(settings) as bridge:
        paths = make_web(bridge, lambda: True).openapi()["paths"]
    rows = (
        (f"`{verb.upper()}`", f"`{path}`", route.get("summary", ""))
        for path, verbs in paths.items()
        for verb, route in verbs.items()
    )
    return pages.table(("verb", "address", "what it gives"), rows)


MADE = {
    ("docs/operator.md", "settings"): settings_table,
    ("docs/api.md", "routes"): routes_table,
    ("docs/pulls.md", "findings"): findings_table,
}


@pytest.mark.parametrize(("page", "table"), MADE, ids=lambda value: value)
def test_a_made_table_is_what_the_code_says(page: str, table: str, tmp_path: Path) -> None:
    wanted, text = MADE[page, table](tmp_path), pages.read(page)
    if WRITE:
        (pages.ROOT / page).write_text(pages.with_table(text, table, wanted), encoding="utf-8")
        return
    assert pages.tables(text)[table] == wanted, MEND


@EVERY_PAGE
def test_a_command_that_can_be_run_prints_what_the_page_shows(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in pages.blocks(text, "console"):
        for one in pages.shown(block):
            if one.words[:1] == ("fhir-bridge",) and one.cheap:
                said = pages.said(one.words[1:])
                if WRITE:
                    line = f"$ {' '.join(one.words)}\n"
                    text = text.replace(f"{line}{one.output}\n```", f"{line}{said}\n```")
                else:
                    assert one.output == said, MEND
    if WRITE:
        page.write_text(text, encoding="utf-8")


# -- settings --------------------------------------------------------------------------------------


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("FHIR_BRIDGE_")]:
        monkeypatch.delenv(variable)


def test_the_example_file_has_every_setting_and_no_other() -> None:
    keys = re.findall(r"^#? ?(\w+) = ", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(keys) == sorted(Settings.model_fields)


def test_the_example_file_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, no_environment: None
) -> None:
    plain = Settings.load()
    monkeypatch.setenv("FHIR_BRIDGE_CONFIG", str(EXAMPLE))
    assert Settings.load() == plain


def test_the_example_file_is_right_with_every_comment_taken_away(
    monkeypatch: pytest.MonkeyPatch, no_environment: None, tmp_path: Path
) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    bare = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert set(tomllib.loads(bare)) == set(Settings.model_fields)
    files = {name: tmp_path / f"{name}.pem" for name in ("tls_certificate", "tls_key")}
    for name, file in files.items():
        file.touch()
        bare = re.sub(rf'^{name} = ".*"', f'{name} = "{file}"', bare, flags=re.MULTILINE)
    filled = tmp_path / "filled.toml"
    filled.write_text(bare, encoding="utf-8")
    monkeypatch.setenv("FHIR_BRIDGE_CONFIG", str(filled))
    assert Settings.load().tls_key == files["tls_key"]


def test_every_variable_that_the_code_names_is_in_the_operators_guide() -> None:
    code = "".join(file.read_text(encoding="utf-8") for file in pages.SOURCE.rglob("*.py"))
    named = set(re.findall(r"FHIR_BRIDGE_[A-Z_]*[A-Z]\b", code)) - {"FHIR_BRIDGE_TLS"}
    guide = pages.read("docs/operator.md")
    assert {name for name in named if f"`{name}`" not in guide} == set()


def test_every_field_that_may_be_logged_is_in_the_operators_guide() -> None:
    guide = pages.read("docs/operator.md")
    assert {name for name in ALLOWED if f"`{name}`" not in guide} == set()


def test_every_field_that_is_logged_may_be_logged() -> None:
    """A field beside the list would be dropped without a word."""
    call = re.compile(r"\b_?log\.(?:debug|info|warning|error)\((.*?)\n?\s*\)\s*(?:#|\n)", re.DOTALL)
    used = {
        field
        for file in pages.SOURCE.rglob("*.py")
        for arguments in call.findall(file.read_text(encoding="utf-8"))
        for field in re.findall(r"[(,\s](\w+)=", arguments)
    }
    assert used
    assert used <= ALLOWED


# -- errors and exit codes -------------------------------------------------------------------------


def facts(kind: type[errors.BridgeError]) -> str:
    wait = kind.default_retry_seconds
    again = "Not tried again by itself." if wait is None else f"Tried again after {wait:g} s."
    status = next((number for base, number in _STATUS if issubclass(kind, base)), 500)
    return f"Exit code {kind.exit_code}. {again} HTTP {status}."


def test_every_error_code_has_its_heading_in_the_order_of_the_codes() -> None:
    heads = re.findall(r"^### (FB-\d{4}) (\w+)$", pages.read("docs/errors.md"), re.MULTILINE)
    assert heads == sorted((kind.code, kind.__name__) for kind in tree())


@pytest.mark.parametrize("kind", list(tree()), ids=lambda kind: kind.code)
def test_the_page_of_errors_quotes_what_the_nurse_reads(kind: type[errors.BridgeError]) -> None:
    made = f"### {kind.code} {kind.__name__}\n\n> {kind.advice}\n\n{facts(kind)}\n"
    text = pages.read("docs/errors.md")
    if WRITE:
        old = re.compile(rf"### {kind.code} .*?\n\n> .*?\n\n.*?\n", re.DOTALL)
        made_page = old.sub(lambda _: made, text)
        (pages.ROOT / "docs/errors.md").write_text(made_page, encoding="utf-8")
        return
    assert made in text, MEND


def test_every_exit_code_is_in_the_operators_guide() -> None:
    names = ("DONE", "FAILED", "USAGE", "PARTIAL", "PERSON", "REFUSED", "UNREACHABLE",
             "CONFIGURATION", "INTERRUPTED")  # fmt: skip
    guide = pages.read("docs/operator.md")
    for name in names:
        assert re.search(rf"^\| {getattr(exits, name)} \| ", guide, re.MULTILINE), name


# -- commands and targets --------------------------------------------------------------------------


def test_every_command_shows_its_help() -> None:
    text = pages.read("docs/commands.md")
    shown = {one.words for block in pages.blocks(text, "console") for one in pages.shown(block)}
    wanted = {("fhir-bridge", *path, "--help") for path in pages.commands()}
    assert wanted - shown == set()


@EVERY_PAGE
def test_every_command_that_a_page_shows_exists_with_its_options(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in pages.blocks(text, "console"):
        for one in pages.shown(block):
            words = list(one.words)
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words.pop(0)
            if words[:1] in (["fhir-bridge"], [".venv/bin/fhir-bridge"]):
                check_command(words[1:])


def check_command(words: list[str]) -> None:
    known, path = pages.commands(), ()
    while words and (*path, words[0]) in known:
        path = (*path, words.pop(0))
    command = known[path]
    assert path or words == ["--help"], f"no command: {words}"
    assert not (getattr(command, "commands", {}) and words and words[0][0] != "-"), (path, words)
    asked = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert asked <= pages.options(command), (path, asked)


def test_the_guide_draws_the_floors_as_they_are() -> None:
    contracts = tomllib.loads(pages.read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = " ".join(contracts[0]["layers"]).replace("|", " ").split()
    lines = pages.blocks(pages.read("docs/developer.md"), "text")[0].splitlines()
    drawn = " ".join(re.split(r" {2,}", line)[0] for line in lines)
    assert re.findall(r"\w+", drawn.replace("cli (and __main__)", "__main__ cli")) == layers


def targets() -> set[str]:
    made = (pages.ROOT / "Makefile", pages.ROOT / "tests/peers/peers.mk")
    text = "".join(file.read_text(encoding="utf-8") for file in made)
    return set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))


def test_every_make_target_is_in_the_developers_guide() -> None:
    guide = pages.read("docs/developer.md")
    assert {target for target in targets() if f"`make {target}`" not in guide} == set()


@EVERY_PAGE
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    shown = re.compile(r"(?:`|^ {4}|^\$ )make ([a-z-]+)", re.MULTILINE)
    named = set(shown.findall(page.read_text(encoding="utf-8")))
    assert named <= targets()


# -- places ----------------------------------------------------------------------------------------


@EVERY_PAGE
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in pages.links(page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in pages.anchors(target.read_text(encoding="utf-8")), link


@EVERY_PAGE
def test_every_file_that_a_page_names_exists_with_what_it_is_said_to_hold(page: Path) -> None:
    missing = []
    for named in pages.files_named(page.read_text(encoding="utf-8")):
        path, _, inner = named.partition("::")
        found = [place for place in pages.candidates(path, page) if place.is_file()]
        if not found and not made_elsewhere(path):
            missing.append(path)
        if found and inner and not pages.defines(found[0], inner):
            missing.append(named)
    assert missing == []


def made_elsewhere(path: str) -> bool:
    """A file that an operator writes, or that a page of a table names without its folder."""
    written = {"fhir-bridge.toml", "patient.json", "opinion.md", "case-record.json"}
    below = [*pages.ROOT.glob(f"mappings/**/{path}"), *pages.SOURCE.glob(f"**/{path}")]
    return path in written or ("/" not in path and bool(below))


@EVERY_PAGE
def test_a_page_names_no_place_of_one_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(?:root|work|home|tmp)/", text)
