"""The document inside an encapsulated PDF or CDA instance, byte for byte, checked by its magic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from fhir_bridge.errors import Unreadable
from fhir_bridge.standards.dicom.header import read

_KEYWORDS = (
    "DocumentTitle",
    "MIMETypeOfEncapsulatedDocument",
    "EncapsulatedDocument",
    "EncapsulatedDocumentLength",
)
_PDF, _XML = "application/pdf", "text/xml"


@dataclass(frozen=True, slots=True)
class Encapsulated:
    """
    The document of an encapsulated instance (PS3.3 C.24.2).

    `content_type` is what the bytes are, `declared` what (0042,0012) says; they may differ.
    """

    content: bytes
    content_type: str
    declared: str
    title: str


def read_document(part10: BinaryIO) -> Encapsulated:
    """
    The document in a Part 10 file, without the padding that makes its length even.

    Raises Unreadable when there is none, or when its bytes are neither a PDF nor a CDA.
    """
    dataset = read(part10, _KEYWORDS)
    try:
        content = bytes(dataset.get("EncapsulatedDocument") or b"")
        length = dataset.get("EncapsulatedDocumentLength")
        declared = str(dataset.get("MIMETypeOfEncapsulatedDocument") or "")
        title = str(dataset.get("DocumentTitle") or "")
    except (TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"encapsulated document not readable ({type(error).__name__})") from None
    content = _unpadded(content, length)
    return Encapsulated(content, _content_type(content), declared, title)


def _unpadded(content: bytes, length: object) -> bytes:
    # (0042,0015) gives the length without padding; older writers leave it out, and pad one zero.
    if isinstance(length, int) and len(content) - 1 <= length <= len(content):
        return content[:length]
    return content[:-1] if content.endswith(b"\x00") else content


def _content_type(content: bytes) -> str:
    head = content[:1024]
    if head.lstrip(b"\xef\xbb\xbf\r\n\t ").startswith(b"%PDF-"):
        return _PDF
    if b"ClinicalDocument" in content[:8192] and head.lstrip(b"\xef\xbb\xbf\r\n\t ")[:1] == b"<":
        return _XML
    raise Unreadable("the encapsulated document is neither a PDF nor a CDA")
