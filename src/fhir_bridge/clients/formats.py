"""Servers that answer XML where JSON was asked for: asked once in another way, which is learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

from fhir_bridge.case.original import Answer
from fhir_bridge.clients.ask import FHIR_JSON, Ask
from fhir_bridge.clients.manners import Manners
from fhir_bridge.errors import OnlyXml

AS_FORMAT = "_format=json"
LEARNED = [AS_FORMAT]


def asked_for_json(ask: Ask, exchange: Callable[[Ask], Answer], manners: Manners) -> Answer:
    """
    One exchange; a second one with `_format` when the first brought a page of FHIR in XML.

    What helped is remembered with the endpoint, and done at once from then on. Raises OnlyXml
    when it does not help, and what `exchange` raises.
    """
    if ask.kind != "page" or ask.accept != FHIR_JSON or ask.changes:
        return exchange(ask)
    if manners.fact("accept") == LEARNED:
        ask = in_json(ask)
    answer = exchange(ask)
    if not is_xml(answer):
        return answer
    answer = exchange(in_json(replace(ask, previous=answer.original.id)))
    if is_xml(answer):
        raise OnlyXml("the answer is XML, whatever is asked for")
    manners.learn(accept=LEARNED)
    return answer


def is_xml(answer: Answer) -> bool:
    """Whether the body is FHIR in XML (R4 xml.html), whatever the content type claims."""
    begin = (answer.body or b"")[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    return begin.startswith(b"<") and b"http://hl7.org/fhir" in begin


def in_json(ask: Ask) -> Ask:
    """The same with the `_format` parameter, which overrules Accept (R4 http.html#parameters)."""
    parts = urlsplit(ask.url)
    if any(name == "_format" for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        return replace(ask, accept="application/json")
    query = f"{parts.query}&{AS_FORMAT}" if parts.query else AS_FORMAT
    return replace(ask, accept="application/json", url=parts._replace(query=query).geturl())
