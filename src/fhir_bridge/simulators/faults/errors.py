"""How the hospital refuses: whole types, whole doors, each in the words of another vendor."""

from __future__ import annotations

from collections.abc import Callable

from fhir_bridge.simulators import edges
from fhir_bridge.simulators.edges import Answer, Edge, Reach
from fhir_bridge.simulators.faults.fault import Fault
from fhir_bridge.simulators.wire import CONTENT_TYPE, Resource, write_json

METADATA = "/fhir/metadata"
SMART = "/fhir/.well-known/smart-configuration"
HTML_404 = (
    b'<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN"><html><head><title>404 - File or '
    b"directory not found.</title></head><body><h1>Server Error</h1></body></html>"
)
_EMPTY = {"resourceType": "Bundle", "type": "searchset"}


def _reports(name: str, shows: str, answer: Answer) -> Fault:
    return Fault(name, shows, "EHR", reach=edges.diagnostic_reports,
                 edge=lambda: edges.answers(answer))  # fmt: skip


def _no_reports(name: str, shows: str, body: object) -> Fault:
    answer = edges.said(200, CONTENT_TYPE, write_json(body))
    return Fault(name, shows, "EHR", reach=edges.report_searches,
                 edge=lambda: edges.answers(answer))  # fmt: skip


def _door(name: str, shows: str, reach: Reach, edge: Callable[[], Edge]) -> Fault:
    return Fault(name, shows, "EHR", reach=reach, edge=edge)


def _information_first() -> Answer:
    information = {"severity": "information", "code": "invalid",
                   "diagnostics": "Unknown parameter. Parameter has been ignored."}  # fmt: skip
    fatal = {"severity": "fatal", "code": "business-rule",
             "diagnostics": "This resource requires a category parameter."}  # fmt: skip
    body = {"resourceType": "OperationOutcome", "issue": [information, fatal]}
    return edges.said(400, CONTENT_TYPE, write_json(body))


def _older(kind: str, version: str) -> Callable[[], Edge]:
    """The statement of an older FHIR version."""

    def change(_ask: edges.Ask, statement: Resource) -> Resource:
        return statement | {"resourceType": kind, "fhirVersion": version}

    return lambda: edges.rewrites(change)


def _lists_nothing(_ask: edges.Ask, statement: Resource) -> Resource:
    return {key: value for key, value in statement.items() if key != "rest"}


def _failing_at_first(times: int) -> Callable[[], Edge]:
    """The first answers are 503."""

    def make() -> Edge:
        left = [edges.refusal(503, "transient", "starting", (b"retry-after", b"1"))] * times

        async def edge(_ask: edges.Ask, go_on: edges.Next) -> Answer:
            return left.pop() if left else await go_on()

        return edge

    return make


ROWS = (
    _reports("refuse-diagnostic-reports", "403 on everything about DiagnosticReport",
             edges.refusal(403, "forbidden", "the client may not see this type")),
    _reports("reports-403-text", "403 in plain text on everything about DiagnosticReport",
             edges.said(403, "text/plain", b"Forbidden: insufficient scope")),
    _reports("reports-401-empty", "401 without a body on everything about DiagnosticReport",
             edges.said(401, "text/plain", b"", (b"www-authenticate", b"Bearer"))),
    _reports("reports-404-unsupported", "404: DiagnosticReport is not supported",
             edges.refusal(404, "not-supported", "Unknown resource type DiagnosticReport")),
    _reports("reports-404-html", "404 as a web page on everything about DiagnosticReport",
             edges.said(404, "text/html", HTML_404)),
    _reports("reports-400-detail", "400 as JSON that is no FHIR on everything about reports",
             edges.said(400, "application/json",
                        b'{"resource":"v1/resource/error/_version/1/","detail":"Bad request"}')),
    _reports("reports-400-information-first", "400: the cause is the second issue, not the first",
             _information_first()),
    _reports("reports-500", "500 on everything about DiagnosticReport",
             edges.refusal(500, "exception", "the server failed")),
    _no_reports("no-reports-no-entry", "no report is told by a searchset without entries", _EMPTY),
    _no_reports("no-reports-empty-list", "no report is told by an empty list of entries",
                {**_EMPTY, "total": 0, "entry": []}),
    _no_reports("no-reports-bare-list", "no report is told by a bare empty list", []),
    _no_reports("no-reports-4101", "no report is told by an outcome entry, Epic's 4101",
                {**_EMPTY, "total": 0, "entry": [{"search": {"mode": "outcome"}, "resource": {
                    "resourceType": "OperationOutcome", "issue": [{
                        "severity": "warning", "code": "not-found",
                        "details": {"coding": [{"code": "4101"}]},
                        "diagnostics": "Resource request returns no results."}]}}]}),
    _door("ehr-503-at-first", "the first three requests are 503, Retry-After: 1",
          lambda ask: ask.path.startswith("/fhir/"), _failing_at_first(3)),
    _door("metadata-html", "the CapabilityStatement is a web page", edges.at(METADATA),
          lambda: edges.answers(edges.said(200, "text/html", HTML_404))),
    _door("metadata-refused", "the CapabilityStatement is refused with 403", edges.at(METADATA),
          lambda: edges.refuses(403, "forbidden", "not for you")),
    _door("metadata-lists-nothing", "the CapabilityStatement names no resource type",
          edges.at(METADATA), lambda: edges.rewrites(_lists_nothing)),
    _door("metadata-dstu2", "the base is DSTU2: a Conformance of FHIR 1.0.2", edges.at(METADATA),
          _older("Conformance", "1.0.2")),
    _door("smart-configuration-missing", "there is no .well-known/smart-configuration",
          edges.at(SMART), lambda: edges.answers(edges.said(404, "text/html", HTML_404))),
)  # fmt: skip
