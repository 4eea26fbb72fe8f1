"""Which presentation contexts we accept: what the sender prefers, as long as we know it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fhir_bridge.standards.dicom import words
from fhir_bridge.standards.dicom.part10 import EXPLICIT_LE, IMPLICIT_LE

_ECHO_SYNTAXES = frozenset((IMPLICIT_LE, EXPLICIT_LE))


@dataclass(frozen=True, slots=True)
class Offer:
    """One proposed presentation context: a SOP class in the sender's order of transfer syntaxes."""

    id: int
    sop_class: str
    syntaxes: tuple[str, ...]


def choose(offer: Offer) -> str | None:
    """
    The transfer syntax that we take for an offer, None to refuse the context (PS3.8 9.3.3.2).

    The sender's first syntax that the table accepts wins: it can then send the object as it has it,
    and what it has is the evidence. We never ask it to decompress.
    """
    if offer.sop_class == words.VERIFICATION:
        known = _ECHO_SYNTAXES
    elif words.is_stored(offer.sop_class):
        known = words.accepted_syntaxes()
    else:
        return None
    return next((syntax for syntax in offer.syntaxes if syntax in known), None)


def stored_classes(offers: Iterable[Offer]) -> Sequence[str]:
    """The SOP classes among the offers that the receiver would store, each once."""
    taken = (o.sop_class for o in offers if o.sop_class != words.VERIFICATION and choose(o))
    return tuple(dict.fromkeys(taken))
