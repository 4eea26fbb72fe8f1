"""Documents: the list, one document with our facts, and the original behind glass."""

from __future__ import annotations

import base64
import hashlib

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from fhir_bridge.case.record import HeldAttachment
from fhir_bridge.security.access import Purpose
from fhir_bridge.servers.console import papers, reading, show
from fhir_bridge.servers.console.casepage import frame
from fhir_bridge.servers.console.room import Room

_STYLE = (
    "html{color-scheme:light;background:#fff;color:#1b2126}"
    "body{font:16px/1.55 system-ui,sans-serif;max-width:46rem;margin:24px auto;padding:0 20px;"
    "overflow-wrap:anywhere}"
    "h1{font-size:20px}h2{font-size:16px;margin-top:28px;border-bottom:1px solid #d5dadf}"
    "table{border-collapse:collapse;font-size:14px;width:100%}"
    "td,th{border:1px solid #d5dadf;padding:4px 8px;text-align:left;vertical-align:top}"
    "pre{white-space:pre-wrap;font:15px/1.5 ui-monospace,monospace}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# Behind glass: an opaque origin without scripts, forms or any load, shown only inside our pages.
_GLASS = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'; sandbox"
)
# Browsers refuse their PDF viewer inside a sandbox; the viewer is one itself, and the bytes are
# served as nothing but PDF.
_PDF = (
    "default-src 'none'; object-src 'self'; plugin-types application/pdf; style-src 'unsafe-inline'"
    "; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_SHOWN_AS_THEY_ARE = frozenset(
    {"application/pdf", "image/png", "image/jpeg", "image/gif", "image/webp"}
)
_MAX_READING = 32 * 1024 * 1024


class Files:
    """Documents and their bytes."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["console"])
        base = "/cases/{case_id}"
        router.get(f"{base}/documents", summary="Every document")(self.list)
        router.get(f"{base}/documents.csv", summary="Documents as CSV")(self.csv)
        router.get(f"{base}/documents/{{ref}}", summary="One document")(self.document)
        router.get(f"{base}/originals/{{sha256}}", summary="An original, behind glass")(
            self.original
        )
        return router

    def list(self, request: Request, case_id: str) -> Response:
        """All documents and reports, newest first."""
        found = frame(self._room, request, case_id, Purpose.REVIEW)
        listed = [p for p in papers.papers(self._room.store, case_id) if p.shown]
        return self._room.render(request, "documents.html", frame=found, papers=listed)

    def csv(self, request: Request, case_id: str) -> Response:
        """The same for a spreadsheet."""
        self._room.open_case(request, case_id, Purpose.REVIEW)
        headers = ("date", "title", "kind", "author", "source", "state", "files", "problem")
        rows = [
            (
                p.date,
                p.title,
                p.kind,
                p.author,
                p.key.source,
                p.saying.label,
                len(p.files),
                "; ".join(f.reason for f in p.files if f.failure),
            )
            for p in papers.papers(self._room.store, case_id)
        ]
        return show.spreadsheet("documents.csv", headers, rows)

    def document(self, request: Request, case_id: str, ref: str) -> Response:
        """Our facts about a document, and each of its files in a frame."""
        found = frame(self._room, request, case_id, Purpose.REVIEW)
        listed = papers.papers(self._room.store, case_id)
        index = next((n for n, paper in enumerate(listed) if _is(paper, ref)), None)
        if index is None:
            raise HTTPException(404)
        shown = [paper for paper in listed if paper.shown or paper is listed[index]]
        place = shown.index(listed[index])
        return self._room.render(
            request,
            "document.html",
            frame=found,
            paper=listed[index],
            before=shown[place - 1] if place else None,
            after=shown[place + 1] if place + 1 < len(shown) else None,
            can_show=can_show,
        )

    def original(
        self, request: Request, case_id: str, sha256: str, download: bool = False
    ) -> Response:
        """
        The bytes of a file of this case. Shown: PDF and pictures as they are, text, HTML and
        C-CDA made harmless; anything else is offered for download only.
        """
        case = self._room.open_case(request, case_id, Purpose.REVIEW)
        attachments = self._room.store.ledgers.attachments(case.id)
        file = next((a for a in attachments if a.sha256 == sha256), None)
        if file is None:
            raise HTTPException(404)
        body = self._room.store.originals.read(sha256)
        if download or not can_show(file):
            return _download(file, body)
        return _behind_glass(file, body)


def _is(paper: papers.Paper, ref: str) -> bool:
    return ref == paper.ref or any(ref == file.sha256 != "" for file in paper.files)


def can_show(file: HeldAttachment) -> bool:
    """Whether a browser may be given this file to show."""
    kind = _kind(file)
    readable = file.size <= _MAX_READING and reading.can_read(kind)
    return bool(file.sha256) and (kind in _SHOWN_AS_THEY_ARE or readable)


def _kind(file: HeldAttachment) -> str:
    return file.content_type.partition(";")[0].strip().lower()


def _download(file: HeldAttachment, body: bytes) -> Response:
    # Our name: what the sender called it may hold the patient's name, or a path.
    name = f"document-{file.sha256[:12]}{_SUFFIX.get(_kind(file), '.bin')}"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Security-Policy": _GLASS,
    }
    return Response(body, media_type=_kind(file) or "application/octet-stream", headers=headers)


_SUFFIX = {
    "application/pdf": ".pdf",
    "text/plain": ".txt",
    "text/html": ".html",
    "application/xml": ".xml",
    "text/xml": ".xml",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "application/hl7-sda+xml": ".xml",
    "application/cda+xml": ".xml",
}


def _behind_glass(file: HeldAttachment, body: bytes) -> Response:
    kind = _kind(file)
    if kind in _SHOWN_AS_THEY_ARE:
        policy = _PDF if kind == "application/pdf" else _GLASS
        headers = {"Content-Security-Policy": policy, "Content-Disposition": "inline"}
        return Response(body, media_type=kind, headers=headers)
    page = f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style>{reading.read(body, kind)}"
    return Response(page, media_type="text/html", headers={"Content-Security-Policy": _GLASS})
