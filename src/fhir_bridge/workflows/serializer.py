"""How the job engine's rows are written: JSON without error texts, and without pickle."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from dbos import Serializer

from fhir_bridge import errors
from fhir_bridge.errors import BridgeError
from fhir_bridge.standards.fhir import json


class OurJson(Serializer):
    """
    JSON for inputs, outputs and errors: no pickle, and no error text in the engine's tables.

    An exception keeps its type over a replay through the registry of our error tree; its detail
    is not written.
    """

    def name(self) -> str:
        """Stored in every row: never renamed."""
        return "fb_json"

    def serialize(self, data: Any) -> str:
        """Values as `{"v": ...}`, exceptions as their registered name."""
        if isinstance(data, BaseException):
            return json.dumps({"$exc": type(data).__name__}).decode()
        return json.dumps({"v": data}).decode()

    def deserialize(self, serialized_data: str) -> Any:
        """The value, or an exception of the same type."""
        found = json.load_object(serialized_data.encode())
        if "$exc" not in found:
            return _plain(found["v"])
        kind = getattr(errors, found["$exc"], None)
        if isinstance(kind, type) and issubclass(kind, BridgeError):
            return kind()
        return RuntimeError(found["$exc"])


def _plain(value: Any) -> Any:
    """The wire's exact decimals as the floats that were written: a replay sees what the run saw."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
