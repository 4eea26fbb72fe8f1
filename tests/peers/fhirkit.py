"""fhirkit-rs (Rust): a fast judge of a resource's structure, run once a document."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import simplejson

from .peer import BUILT, need
from .resource_file import written

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = BUILT / "sekmet" / "bin" / "fhirkit"


@dataclass(frozen=True, slots=True)
class Fhirkit:
    """fhirkit's `validate` command."""

    seconds: float = 30

    def validate(self, resource: Mapping[str, Any] | bytes) -> list[str]:
        """The errors as `location: message`; raises subprocess.TimeoutExpired."""
        with written(resource) as file:
            argv = [str(PROGRAM), "validate", "--json", str(file)]
            ended = subprocess.run(argv, check=False, capture_output=True, timeout=self.seconds)
        if not ended.stdout:  # not JSON at all: said on the other stream
            return [ended.stderr.decode(errors="replace").strip()]
        issues = simplejson.loads(ended.stdout)["issues"]
        return [f"{one['path']}: {one['message']}" for one in issues if one["severity"] == "error"]


def installed() -> Fhirkit:
    """The judge, if it is installed here."""
    need("fhirkit-rs", PROGRAM)
    return Fhirkit()
