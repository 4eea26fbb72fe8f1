"""The judge: says whether a resource is valid R4, and never carries or changes it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

MAX_FINDINGS = 20


def judge(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """
    What is wrong with a resource by the R4B models of fhir.resources: `path: kind of error`.

    Empty for a valid one. Never a value in it, so that it may be logged. Whatever goes wrong in
    the judge itself becomes a finding too: its verdict must not stop a record.
    """
    type_ = resource.get("resourceType")
    try:
        _model(type_).model_validate(dict(resource))
    except ValidationError as error:
        found = sorted({_finding(one) for one in error.errors(include_input=False)})
        return tuple(found[:MAX_FINDINGS])
    except Exception as error:  # noqa: BLE001 (the models raise KeyError and others on odd input)
        return (f": {type(error).__name__}",)
    return ()


def _finding(error: Mapping[str, Any]) -> str:
    return f"{'.'.join(str(step) for step in error['loc'])}: {error['type']}"


@cache
def _model(type_: object) -> Any:
    return get_fhir_model_class(str(type_))
