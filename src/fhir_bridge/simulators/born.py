"""What the chart holds before anybody has written into it, as a fault or a vendor may change it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fhir_bridge.simulators.wire import Resource

Change = Callable[[Resource], Resource]


@dataclass(frozen=True, slots=True)
class Born:
    """The first resources, the base of the EHR, and the origin of somebody else's server."""

    resources: tuple[Resource, ...]
    base: str
    foreign: str = ""

    def plus(self, *more: Resource) -> Born:
        """With further resources at the end."""
        return replace(self, resources=(*self.resources, *more))

    def changed(self, wanted: Callable[[Resource], bool], change: Change) -> Born:
        """With every wanted resource changed."""
        made = (change(one) if wanted(one) else one for one in self.resources)
        return replace(self, resources=tuple(made))

    def first_document(self, change: Change) -> Born:
        """With the first document changed whose only content is a Binary of this chart."""
        number = next((number for number, _ in attached(self.resources)), None)
        if number is None:
            return self
        first = self.resources[number]
        return self.changed(lambda one: one is first, change)

    def first_attachment(self, change: Change) -> Born:
        """With the attachment of that document changed."""
        return self.first_document(lambda one: with_attachments(one, change(attachment_of(one))))

    def first_of(self, kind: str) -> Resource | None:
        """The first resource of a type."""
        return next((one for one in self.resources if one["resourceType"] == kind), None)


def attached(born: Sequence[Resource]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Current documents whose only content is a Binary of ours: place in `born`, attachment."""
    for number, one in enumerate(born):
        if one["resourceType"] == "DocumentReference" and one.get("status") == "current":
            attachments = [content["attachment"] for content in one.get("content", ())]
            if len(attachments) == 1 and attachments[0].get("url", "").startswith("Binary/"):
                yield number, attachments[0]


def attachment_of(document: Resource) -> dict[str, Any]:
    """The first attachment of a document."""
    attachment: dict[str, Any] = document["content"][0]["attachment"]
    return attachment


def with_attachments(document: Resource, *attachments: dict[str, Any]) -> Resource:
    """A document with other attachments."""
    return document | {"content": [{"attachment": one} for one in attachments]}
