"""The shelf that receiving tests put images on."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_PATH = Path(__file__).parent / "shelf.py"


def _load():
    name = "receive_shelf"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, _PATH)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def stand():
    """The module tests/pipeline/receive/shelf.py."""
    return _load()


@pytest.fixture
def shelf(stand, tmp_path):
    return stand.FolderShelf(tmp_path / "shelf", [stand.case()])


@pytest.fixture
def receiver(stand, shelf):
    return stand.receiver(shelf)
