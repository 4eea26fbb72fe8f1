"""The certificate of a source: every slice graded by its evidence (TRUTH 3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from fhir_bridge.case.certificate import Evidence, Line, line
from fhir_bridge.case.record import HeldAttachment
from fhir_bridge.case.slice import REFERRED, Slice


def certificate(
    slices: Iterable[Slice],
    attachments: Iterable[HeldAttachment],
    unread: Mapping[str, int] = MappingProxyType({}),
) -> Sequence[Line]:
    """One line per slice, and one for a source whose records refer to some that never came."""
    return [line(s.source, s.type, s.evidence) for s in judged(slices, attachments, unread)]


def judged(
    slices: Iterable[Slice], attachments: Iterable[HeldAttachment], unread: Mapping[str, int]
) -> Sequence[Slice]:
    """
    The slices with all that counts against them.

    An attachment that failed, or was not settled yet, makes the slice of its record short; one
    that names neither address nor content has nothing to be missed. `unread` counts by source the
    records that others refer to and that could not be read.
    """
    absent = Counter((a.parent.source, a.parent.kind) for a in attachments if _is_absent(a))
    found = [_lowered(slice_, absent[slice_.source, slice_.type]) for slice_ in slices]
    case_id = found[0].case_id if found else ""
    found += [_referred(case_id, source, number) for source, number in unread.items() if number]
    return sorted(found, key=lambda s: (s.source, s.type))


def _lowered(slice_: Slice, absent: int) -> Slice:
    evidence = replace(slice_.evidence, missing=slice_.evidence.missing + absent)
    return replace(slice_, evidence=evidence)


def _referred(case_id: str, source: str, number: int) -> Slice:
    records = (
        "record that others refer to was" if number == 1 else "records that others refer to were"
    )
    evidence = Evidence(missing=number, broken=f"{number} {records} not handed over")
    return Slice(case_id, source, REFERRED, ended=True, evidence=evidence)


def _is_absent(attachment: HeldAttachment) -> bool:
    return not attachment.sha256 and (bool(attachment.failure) or not attachment.reason)
