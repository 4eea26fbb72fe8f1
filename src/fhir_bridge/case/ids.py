"""Identifiers that follow from what they name, so that the same evidence gives the same bytes."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from uuid import UUID, uuid5

NAMESPACE = UUID("6f2b7f0e-5d0c-5a53-9f7e-0b1d6b8f9a41")
_NOT_SLUG = re.compile(r"[^a-z0-9]+")
_BETWEEN = "\x1f"


def bridge_id(source: str, kind: str, identifier: str) -> str:
    """
    The bridge's own id of a thing at a source: UUIDv5 over (source, kind, id).

    >>> bridge_id("general-hospital", "Patient", "p1") == bridge_id("st-anne", "Patient", "p1")
    False
    """
    return str(uuid5(NAMESPACE, _BETWEEN.join(map(_escaped, (source, kind, identifier)))))


def _escaped(part: str) -> str:
    # A source may write anything into an id: two different triples never read the same.
    return part.replace("\\", "\\\\").replace(_BETWEEN, "\\u")


def document_id(case_id: str, kind: str, version: int) -> str:
    """The identifier of a case record or opinion document: UUIDv5 over (case, kind, version)."""
    return bridge_id(case_id, kind, str(version))


def urn(identifier: str) -> str:
    """
    A UUID as the urn that FHIR uses for `fullUrl` and references.

    >>> urn("6f2b7f0e-5d0c-5a53-9f7e-0b1d6b8f9a41")
    'urn:uuid:6f2b7f0e-5d0c-5a53-9f7e-0b1d6b8f9a41'
    """
    return f"urn:uuid:{identifier}"


def slug(name: str) -> str:
    """
    A source's name as it stands in keys and URLs.

    A name with letters that have no plain form keeps a piece of its hash, so that two hospitals
    written in another alphabet never become one source.

    >>> slug("Hôpital Général, Site 2")
    'hopital-general-site-2'
    >>> slug("Álvarez 医院")
    'alvarez-3c56e339'
    """
    letters = [c for c in unicodedata.normalize("NFKD", name.casefold()) if c.isalnum()]
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    parts = [_NOT_SLUG.sub("-", plain).strip("-")]
    if not parts[0] or not all(c.isascii() for c in letters):
        whole = unicodedata.normalize("NFC", name.casefold().strip())
        parts.append(hashlib.sha256(whole.encode()).hexdigest()[:8])
    return "-".join(filter(None, parts))
