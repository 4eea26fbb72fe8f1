"""One attempt: the bytes leave, and what came of it is told apart into known and not known."""

from __future__ import annotations

from dataclasses import dataclass

from fhir_bridge.case.delivery import Delivery, DeliveryState
from fhir_bridge.case.original import Answer
from fhir_bridge.errors import (
    BridgeError,
    DeliveryRefused,
    LoginRefused,
    ProviderBusy,
    ProviderRefused,
    RecordError,
)
from fhir_bridge.pipeline.deliver import plan
from fhir_bridge.pipeline.deliver.chart import Way
from fhir_bridge.pipeline.deliver.document_reference import (
    FHIR_JSON,
    PDF,
    URI,
    binary,
    contents,
    document_reference,
)
from fhir_bridge.pipeline.deliver.plan import Rung
from fhir_bridge.standards.fhir import json
from fhir_bridge.standards.fhir.references import classify

# A conflict or a failed precondition may mean that it is there already: to be looked for.
_MAYBE_THERE = ("HTTP 409", "HTTP 412")
_OTHER_FORM = ("HTTP 400", "HTTP 415", "HTTP 422")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where an attempt ended: accepted with a location, refused with a reason, or unknown."""

    state: DeliveryState
    location: str = ""
    reason: str = ""
    wait_seconds: float = 0.0


_UNKNOWN = Outcome(DeliveryState.UNKNOWN)


def attempt(delivery: Delivery, way: Way, rung: Rung) -> Outcome:
    """
    Let the bytes leave, once. Only a clean answer counts as refused; any other error is unknown.

    The caller has committed `sent` before.
    """
    refused = DeliveryState.REFUSED
    try:
        location = _put(delivery, way, rung)
    except ProviderBusy as error:
        wait = error.retry_after_seconds or way.site.retry_seconds
        return Outcome(refused, reason=plan.BUSY, wait_seconds=wait)
    except LoginRefused:
        return Outcome(refused, reason=plan.LOGIN)
    except (DeliveryRefused, ProviderRefused) as error:
        if error.detail.startswith(_MAYBE_THERE):
            return _UNKNOWN
        again = rung is Rung.INLINE and plan.takes(way.declares, "Binary")
        return Outcome(refused, reason=plan.INLINE_REFUSED if again else plan.REFUSED)
    except BridgeError:
        return _UNKNOWN
    return Outcome(DeliveryState.ACCEPTED, location) if location else _UNKNOWN


def _put(delivery: Delivery, way: Way, rung: Rung) -> str:
    urls: tuple[str, ...] = ()
    if rung is Rung.BINARY:
        urls = tuple(_put_binary(way, *content) for content in contents(way.signed))
        if not all(urls):
            return ""
    resource = document_reference(delivery, way.signed, way.site.patient_id, urls)
    conditional = "DocumentReference" in way.declares.conditional_create
    answer = way.chart.create(
        "DocumentReference",
        json.dumps(resource),
        if_none_exist=f"identifier={URI}|{delivery.identifier}" if conditional else "",
    )
    return location(answer, "DocumentReference")


def _put_binary(way: Way, content_type: str, body: bytes) -> str:
    """The letter as raw bytes where they are taken; FHIR JSON would be read as a resource."""
    if content_type == PDF:
        try:
            return location(way.chart.create("Binary", body, content_type=PDF), "Binary")
        except DeliveryRefused as error:
            if not error.detail.startswith(_OTHER_FORM):
                raise
    wrapped = binary(content_type, body)
    return location(way.chart.create("Binary", wrapped, content_type=FHIR_JSON), "Binary")


def location(answer: Answer, type_: str) -> str:
    """
    `Type/id` of what was created: from Location (R4 http.html#create), else from the body.

    Empty when the answer does not say; the host in Location is often a gateway's and not used.
    """
    found = classify(answer.header("Location"))
    if found.type == type_:
        return f"{type_}/{found.id}"
    try:
        resource = json.load_object(answer.body or b"")
    except RecordError:
        return ""
    made = resource.get("resourceType") == type_ and resource.get("id")
    return f"{type_}/{made}" if made else ""
