"""A FHIR resource as a file, for the judges that read files."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import simplejson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def written(resource: Mapping[str, Any] | bytes) -> Iterator[Path]:
    """The resource as a file for as long as the block runs; bytes are written as they are."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(resource if isinstance(resource, bytes) else _dumped(resource))
        file.flush()
        yield Path(file.name)


def _dumped(resource: Mapping[str, Any]) -> bytes:
    return simplejson.dumps(resource, use_decimal=True, ensure_ascii=False).encode()
