"""One fault, one puller, one hospital of its own: run it, and put the judge's verdict beside it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench.chaos import chart, judge, ours, rivals
from bench.chaos.judge import Claim, Pulled, Verdict
from bench.chaos.rivals import Rival
from joserfc.jwk import RSAKey

from fhir_bridge.case.certificate import Grade
from fhir_bridge.simulators.faults.fault import Fault
from fhir_bridge.simulators.hospital import Options, start_hospital
from fhir_bridge.standards.fhir import json

OURS_LATE_SECONDS = 120.0
# What a pull of an EHR never meets: writing, and images.
ELSEWHERE = frozenset({"create", "PACS", "DICOMweb"})
LOGIN = "login"
# What cannot change which documents a rival finds: files, and references between records.
BESIDE_DOCUMENTS = frozenset({"attachments", "chart"})
# Nor can what is only about reports.
ABOUT_REPORTS = "reports"
# Hospitals that have no reports, and say so in their own way.
NO_REPORTS = "no-reports-"
# Hospitals whose first document shows no file, or one that is made on demand.
OTHER_FILE = frozenset({"attachment-nowhere", "attachment-operation"})
KEY_ID = "chaos"

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ground:
    """Where chaos is made: a folder, the charts in it, the key of whoever can log in."""

    folder: Path
    truths: Mapping[Path, chart.Truth]
    jwks_url: str
    key: Path

    def data(self, fault: str) -> Path:
        """The chart that a hospital with this fault has."""
        return self.folder / ("no-reports" if fault.startswith(NO_REPORTS) else "chart")

    def truth(self, fault: str) -> chart.Truth:
        """What stands in that chart."""
        truth = self.truths[self.data(fault)]
        return truth.without_first_file() if fault in OTHER_FILE else truth


def concerns(fault: Fault) -> bool:
    """Whether a pull of records can meet the fault at all."""
    return fault.where not in ELSEWHERE


def excuse(rival: Rival, fault: Fault) -> str:
    """Why a rival is not run against a fault; empty when it is."""
    if fault.where in BESIDE_DOCUMENTS or ABOUT_REPORTS in fault.name:
        return "cannot change which documents are found"
    return "cannot log in" if fault.where == LOGIN and not rival.login else ""


@contextmanager
def ground(folder: Path) -> Iterator[Ground]:
    """Both charts on disk, and a key set that a hospital can fetch while this is open."""
    folder.mkdir(parents=True, exist_ok=True)
    whole, some = folder / "chart", folder / "no-reports"
    truths = {whole: chart.write(whole), some: chart.write(some, reports=0)}
    key = RSAKey.generate_key(
        2048, {"kid": KEY_ID, "use": "sig", "alg": "RS384", "key_ops": ["sign"]}
    )
    private = folder / "login.jwks"
    private.write_bytes(json.dumps({"keys": [key.as_dict(private=True)]}))
    public = {**key.as_dict(private=False), "key_ops": ["verify"]}
    with _showing(json.dumps({"keys": [public]})) as url:
        yield Ground(folder, truths, url, private)


@contextmanager
def _showing(body: bytes) -> Iterator[str]:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing: standard error is for the table."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/jwks.json"
        server.shutdown()


def run_ours(at: Ground, fault: str) -> Facts:
    """Our puller against the fault ("" is a good day)."""
    folder, data = at.folder / "ours" / (fault or "healthy"), at.data(fault)
    argv = [sys.executable, "-m", "bench.chaos.ours", fault, data, folder]
    with rivals.emptied(folder):
        ended = rivals.run(argv, late_seconds=OURS_LATE_SECONDS)
    if ended.out is None:
        return {"verdict": Verdict.HANGS.value, "error": ended.words}
    told = rivals.last_line(ended.out)
    return _facts(told, at.truth(fault)) if told else _broke(ended.words)


def _facts(told: Mapping[str, Any], truth: chart.Truth) -> Facts:
    claims = [Claim(line["type"], Grade(line["grade"])) for line in told["lines"]]
    ids = {kind: frozenset(some) for kind, some in told["ids"].items()}
    pulled = Pulled(told["code"], claims, ids, frozenset(told["files"]))
    gaps = judge.missing(pulled, truth)
    there = sum(map(len, truth.ids.values()))
    short = sum(gaps.get(kind, 0) for kind in truth.ids)
    return {
        "verdict": judge.judge_ours(pulled, truth).value,
        "ids": there - short,
        "ids_in_chart": there,
        "files": len(truth.files) - gaps.get(judge.ATTACHMENTS, 0),
        "files_in_chart": len(truth.files),
        "missing": gaps,
        "silent": judge.unconfessed(pulled, truth),
        "grade": pulled.grade.value,
        **{name: told[name] for name in ("code", "error", "leaked", "requests", "seconds")},
    }


def run_rival(at: Ground, rival: Rival, python: Path, fault: str, *, login: bool) -> Facts:
    """A rival against the fault, at an open door unless it is told to log in."""
    folder = at.folder / rival.name / (fault or "healthy")
    options = Options(
        data=at.data(fault),
        state=folder / "hospital",
        client_id=ours.CLIENT if login else None,
        jwks_url=at.jwks_url if login else None,
        open_door=not login,
        only="ehr",
        faults=(fault,) if fault else (),
    )
    with rivals.emptied(folder), start_hospital(options) as hospital:
        words = ["--smart-client-id", ours.CLIENT, "--smart-key", at.key] if login else []
        began = time.perf_counter()
        argv = [python, rival.adapter, hospital.urls["fhir"], chart.PATIENT_ID, folder, *words]
        ended = rivals.run(argv)
        cost = {
            "requests": len(ours.seen(hospital)),
            "seconds": round(time.perf_counter() - began, 2),
        }
    if ended.out is None:
        return {"verdict": Verdict.HANGS.value, "error": ended.words, **cost}
    told = rivals.last_line(ended.out)
    return _weighed(told, at.truth(fault)) | cost if told else _broke(ended.words) | cost


def _weighed(told: Mapping[str, Any], truth: chart.Truth) -> Facts:
    ids, there = frozenset(told["ids"]), truth.ids[chart.DOCUMENT]
    return {
        "verdict": judge.judge_rival(ids, told["error"], truth).value,
        "ids": len(ids & there),
        "ids_in_chart": len(there),
        "extra": len(ids - there),
        "error": told["error"],
    }


def _broke(words: str) -> Facts:
    return {"verdict": Verdict.BROKE.value, "error": words[-300:]}
