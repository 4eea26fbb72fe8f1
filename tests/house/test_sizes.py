"""Small enough to be read at once: functions and files by the measure of the house."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[2]
SOURCE = PROJECT / "src" / "fhir_bridge"
LONGEST_FUNCTION, MOST_FUNCTIONS, MEDIAN, LONGEST_FILE = 60, 30, 8, 400
LONGEST_TEST_FILE = 600


def _functions() -> Iterator[tuple[str, int]]:
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                yield f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}", lines


LENGTHS = dict(_functions())


def test_no_function_is_longer_than_a_screen():
    assert {name: n for name, n in LENGTHS.items() if n > LONGEST_FUNCTION} == {}


def test_nine_in_ten_functions_are_short():
    short = sum(lines <= MOST_FUNCTIONS for lines in LENGTHS.values())
    assert short / len(LENGTHS) >= 0.9


def test_the_median_function_is_a_thought():
    assert statistics.median(LENGTHS.values()) <= MEDIAN


def test_no_file_is_longer_than_a_sitting():
    long = {
        path.relative_to(SOURCE).as_posix(): lines
        for path in SOURCE.rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > LONGEST_FILE
    }
    assert long == {}


def test_tests_are_read_as_well():
    long = {
        path.relative_to(PROJECT).as_posix(): lines
        for path in (PROJECT / "tests").rglob("*.py")
        if "node_modules" not in path.parts
        and (lines := len(path.read_text().splitlines())) > LONGEST_TEST_FILE
    }
    assert long == {}
