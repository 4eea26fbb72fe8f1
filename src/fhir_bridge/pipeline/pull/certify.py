"""The certificate of a source: every slice graded by its evidence (TRUTH 3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fhir_bridge.case.certificate import Line, line
from fhir_bridge.case.record import HeldAttachment
from fhir_bridge.case.slice import Slice


def certificate(slices: Iterable[Slice], attachments: Iterable[HeldAttachment]) -> Sequence[Line]:
    """
    One line per slice. An attachment that failed, or was not settled yet, makes the slice of its
    record short; one that names neither address nor content has nothing to be missed.
    """
    absent = Counter((a.parent.source, a.parent.kind) for a in attachments if _is_absent(a))
    return [
        line(
            slice_.source,
            slice_.type,
            replace(
                slice_.evidence,
                missing=slice_.evidence.missing + absent[slice_.source, slice_.type],
            ),
        )
        for slice_ in sorted(slices, key=lambda s: (s.source, s.type))
    ]


def _is_absent(attachment: HeldAttachment) -> bool:
    return not attachment.sha256 and (bool(attachment.failure) or not attachment.reason)
