"""The steps of a delivery. Each finds out where the ladder stands, so any of them may run twice."""

from __future__ import annotations

from dataclasses import dataclass

from fhir_bridge.case.delivery import Delivery, DeliveryState, ReadBack
from fhir_bridge.errors import (
    BridgeError,
    ProviderRefused,
    ReadBackDiffers,
    StoreError,
    WrongMoment,
)
from fhir_bridge.pipeline.deliver import plan as reasons
from fhir_bridge.pipeline.deliver.attempt import Outcome, attempt
from fhir_bridge.pipeline.deliver.chart import Way
from fhir_bridge.pipeline.deliver.compare import Compared, compare
from fhir_bridge.pipeline.deliver.document_reference import contents
from fhir_bridge.pipeline.deliver.look import Seen, attachments, look, part
from fhir_bridge.pipeline.deliver.plan import plan
from fhir_bridge.standards.fhir import json

S = DeliveryState
_LONGEST_PAUSE_SECONDS = 900.0
_ENDS = frozenset({S.CONFIRMED, S.OPENED, S.HELD, S.MANUAL})


@dataclass(frozen=True, slots=True)
class Wait:
    """The same step again after so many seconds; sleeping is the caller's."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Advance:
    """Where a delivery stands after one step; `error` is the code of what went wrong, if it did."""

    state: DeliveryState
    done: bool
    wait_seconds: float = 0.0
    error: str = ""


def advance(delivery_id: str, way: Way) -> Advance:
    """
    The next step, whichever it is. Errors that pass become a pause, others a person's task.

    Raises StoreError, and what is no BridgeError: the next call finds the state and goes on from
    there.
    """
    step = _STEPS.get(way.ladder.get(delivery_id).state)
    wait, error = None, ""
    try:
        wait = step(delivery_id, way) if step else None
    except StoreError:
        raise  # what was committed is not known here: the durable engine calls again
    except (ReadBackDiffers, WrongMoment) as moved:
        error = moved.code  # held already, or another worker was quicker
    except BridgeError as failed:
        wait, error = _after(delivery_id, way, failed), failed.code
    state = way.ladder.get(delivery_id).state
    return Advance(state, state in _ENDS, wait.seconds if wait else 0.0, error)


def _after(delivery_id: str, way: Way, failed: BridgeError) -> Wait | None:
    """Asked and got no answer: again later, or a person has to look."""
    if failed.retry_after_seconds is not None:
        return Wait(max(failed.retry_after_seconds, way.site.retry_seconds))
    delivery = way.ladder.get(delivery_id)
    if delivery.state not in _ENDS:
        taken = delivery.state in (S.ACCEPTED, S.READ_BACK)
        way.move(delivery, S.HELD, reason=reasons.NOT_READABLE if taken else reasons.CANNOT_LOOK)
    return None


def send(delivery_id: str, way: Way) -> Wait | None:
    """
    From `queued`: commit the attempt, then let the bytes leave.

    After a first attempt the chart is looked at before every other one, whoever asked for it.
    """
    delivery = way.ladder.get(delivery_id)
    if delivery.state is not S.QUEUED:
        return None
    size = sum(len(body) for _, body in contents(way.signed))
    refused = delivery.reason == reasons.INLINE_REFUSED
    chosen = plan(way.declares, way.site, content_bytes=size, refused_inline=refused)
    if chosen.rung is None:
        way.move(delivery, chosen.state, reason=chosen.reason)
        return None
    if delivery.attempts and look(delivery, way).matches:
        way.move(delivery, S.SENT)  # by the attempt before; `reconcile` says what is there
        way.move(delivery, S.UNKNOWN)
        return None
    if delivery.attempts >= way.site.max_attempts:
        way.move(delivery, S.HELD, reason=reasons.TOO_OFTEN)
        return None
    delivery = way.move(delivery, S.SENT, attempts=delivery.attempts + 1)
    return _settle(delivery, way, attempt(delivery, way, chosen.rung))


def _settle(delivery: Delivery, way: Way, made: Outcome) -> Wait | None:
    if made.state is S.REFUSED:
        way.move(delivery, S.REFUSED, reason=made.reason)
        return fall(delivery.id, way, wait_seconds=made.wait_seconds)
    if made.state is S.ACCEPTED:
        way.move(delivery, S.ACCEPTED, location=made.location, reason="")
    else:
        way.move(delivery, S.UNKNOWN)
    return None


def fall(delivery_id: str, way: Way, *, wait_seconds: float = 0.0) -> Wait | None:
    """From `refused`, which left nothing behind: the next form, another time, or a person."""
    delivery = way.ladder.get(delivery_id)
    if delivery.state is not S.REFUSED:
        return None
    if delivery.reason == reasons.INLINE_REFUSED:
        way.move(delivery, S.QUEUED)
        return None
    if delivery.reason == reasons.BUSY:
        way.move(delivery, S.QUEUED)
        return Wait(max(wait_seconds, way.site.retry_seconds))
    way.move(delivery, S.HELD)
    return None


def reconcile(delivery_id: str, way: Way) -> Wait | None:
    """
    From `sent` (a crash after the attempt was committed) or `unknown`: look before anything else.

    Found once: accepted. Several times, or not to be told: held. Not found: queued again, but only
    when the site's index lag has passed since the result became unknown.
    """
    delivery = way.ladder.get(delivery_id)
    if delivery.state is S.SENT:
        delivery = way.move(delivery, S.UNKNOWN)
    if delivery.state is not S.UNKNOWN:
        return None
    seen = _looked(delivery, way)
    if len(seen.matches) == 1:
        way.move(delivery, S.ACCEPTED, location=next(iter(seen.matches)), reason="")
    elif seen.matches:
        way.move(delivery, S.HELD, reason=reasons.SEVERAL)
    elif not seen.certain:
        way.move(delivery, S.HELD, reason=reasons.CANNOT_LOOK)
    elif left := way.seconds_left(delivery, way.site.index_lag_seconds):
        return Wait(left)
    else:
        way.move(delivery, S.QUEUED)
        return Wait(_pause(delivery, way))
    return None


def _looked(delivery: Delivery, way: Way) -> Seen:
    try:
        return look(delivery, way)
    except ProviderRefused:
        # No search: a person decides, it is never sent again by itself.
        return Seen(certain=False)


def _pause(delivery: Delivery, way: Way) -> float:
    doubled: float = way.site.retry_seconds * 2.0 ** min(max(delivery.attempts - 1, 0), 16)
    return min(doubled, _LONGEST_PAUSE_SECONDS)


def read_back(delivery_id: str, way: Way) -> Wait | None:
    """
    From `accepted`: fetch what the chart shows, without caches, and set it against what was signed.

    Raises ReadBackDiffers after it was held; its detail names elements, never their values.
    """
    delivery = way.ladder.get(delivery_id)
    if delivery.state is not S.ACCEPTED:
        return None
    try:
        place = delivery.location or _found(delivery, way)
        compared = _compared(delivery, way, place)
    except ProviderRefused:
        return _patiently(delivery, way, reasons.NOT_READABLE)
    kept = {
        "location": place,
        "read_back": compared.verdict,
        "difference": compared.difference,
    }
    if compared.verdict is ReadBack.DIFFERENT:
        way.move(delivery, S.HELD, reason=reasons.DIFFERS, **kept)
        raise ReadBackDiffers(compared.difference)
    way.move(delivery, S.READ_BACK, **kept)
    return None


def _found(delivery: Delivery, way: Way) -> str:
    """Where it is when a person said that it is there: only one can be meant."""
    matches = look(delivery, way).matches
    if len(matches) != 1:
        raise ProviderRefused("the chart does not show the opinion exactly once")
    return next(iter(matches))


def _compared(delivery: Delivery, way: Way, place: str) -> Compared:
    answer = way.chart.read(place, fresh=True)
    resource = json.load_object(answer.body or b"")
    parts = [part(attachment, way) for attachment in attachments(resource)]
    return compare(delivery, way.signed, way.site.patient_id, resource, parts)


def confirm(delivery_id: str, way: Way) -> Wait | None:
    """From `read-back`: the search that a physician's list rests on finds it, and finds it once."""
    delivery = way.ladder.get(delivery_id)
    if delivery.state is not S.READ_BACK:
        return None
    seen = look(delivery, way)
    if len(seen.matches) > 1:
        way.move(delivery, S.HELD, reason=reasons.SEVERAL)
        return None
    if delivery.location not in seen.listed:
        return _patiently(delivery, way, reasons.NOT_LISTED)
    way.move(delivery, S.CONFIRMED)
    return None


def _patiently(delivery: Delivery, way: Way, reason: str) -> Wait | None:
    """It is there and does not show yet: again, until the site's patience ends."""
    patience = max(way.site.patience_seconds, way.site.index_lag_seconds)
    left = way.seconds_left(delivery, patience)
    if left:
        return Wait(min(left, way.site.retry_seconds))
    way.move(delivery, S.HELD, reason=reason)
    return None


_STEPS = {
    S.QUEUED: send,
    S.SENT: reconcile,
    S.UNKNOWN: reconcile,
    S.REFUSED: fall,
    S.ACCEPTED: read_back,
    S.READ_BACK: confirm,
}
