"""General Hospital put together: chart, archive, doors and faults, on free ports, until told."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from fhir_bridge.simulators import faults
from fhir_bridge.simulators.born import Born, attached
from fhir_bridge.simulators.chart import Chart, born_with, files_of
from fhir_bridge.simulators.dicomweb import DicomWeb, dicomweb_router
from fhir_bridge.simulators.door import PREFIX, door_router
from fhir_bridge.simulators.edges import Line
from fhir_bridge.simulators.ehr import Ehr, auth_router, fhir_router
from fhir_bridge.simulators.foreign import Foreign
from fhir_bridge.simulators.hospital import NAME, Options
from fhir_bridge.simulators.images import Archive, open_instance
from fhir_bridge.simulators.login import Client, Login
from fhir_bridge.simulators.pacs import AE_TITLE, Node, Pacs
from fhir_bridge.simulators.profiles import Profile, profile_of
from fhir_bridge.simulators.replay import Replay, replay_router
from fhir_bridge.simulators.rules import Rules
from fhir_bridge.simulators.seen import Requests, noting
from fhir_bridge.simulators.studies import make_studies
from fhir_bridge.simulators.wire import Refusal, Resource, read_json, refusal_answer

HOST = "127.0.0.1"
_PORTS_TRIED = 50
_TICK_SECONDS = 0.25


def _now() -> datetime:
    return datetime.now(UTC)


class _Server(uvicorn.Server):
    """uvicorn, but it says when it serves, and signals are the business of whoever started it."""

    tell: Callable[[], None]

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.tell()


@dataclass(slots=True)
class Hospital:
    """Everything of one hospital; `urls` is the ready line."""

    app: ASGIApp
    line: socket.socket
    pacs: Pacs | None
    foreign: Foreign | None
    urls: dict[str, str | None]
    server: _Server

    def leave(self) -> None:
        """Stop serving, soon; may be called from any thread."""
        self.server.should_exit = True

    async def run(self, ready: Callable[[dict[str, str | None]], None]) -> None:
        """Serve until `leave`, or until the parent process is gone."""
        parent = os.getppid()
        self.server.tell = lambda: ready(self.urls)
        serving = asyncio.create_task(self.server.serve(sockets=[self.line]))
        while not serving.done():
            await asyncio.wait([serving], timeout=_TICK_SECONDS)
            if os.getppid() != parent:
                self.leave()
        await serving

    def close(self) -> None:
        """Give every port back."""
        for open_door in (self.pacs, self.foreign):
            if open_door is not None:
                open_door.stop()
        self.line.close()


def build(options: Options) -> Hospital:
    """A hospital on its ports, not yet serving; raises ValueError for an unknown fault."""
    chosen = faults.chosen(options.faults)
    profile = profile_of(options.profile)
    rules = faults.rules_with(chosen, profile.rules)
    options.state.mkdir(parents=True, exist_ok=True)
    line = _listen(options.http_port)
    base = f"http://{HOST}:{line.getsockname()[1]}"
    requests = Requests(_now)
    archive = Archive([]) if options.only == "ehr" else _archive(options)
    fhir = f"{base}{profile.path}"
    born = _born(options, rules, fhir, f"{base}/dicom-web")
    files = files_of(options.data)
    foreign = _foreign(born, files) if any(fault.foreign for fault in chosen) else None
    if foreign is not None:
        born = replace(born, foreign=foreign.origin)
    born = profile.born(faults.born_with(chosen, born), files)
    journal = options.state / "chart.jsonl"
    chart = Chart(born.resources, files, journal=journal, rules=rules, clock=_now)
    pacs = None if options.only == "ehr" else _pacs(options, archive, rules, requests)
    door = door_router(chart, requests, archive, pacs, foreign.as_json if foreign else dict)
    login = Login(_client(options), f"{base}/auth/token", rules, _clock(rules))
    app = _app(options, Ehr(chart, fhir, rules), archive, login)
    app.add_exception_handler(Refusal, _refused_by(profile))
    app.include_router(door)
    if options.captures is not None:
        fhir = _replay(app, options.captures, base, born, login)
    edged = noting(profile.under(faults.edged(app, chosen, born.foreign)), requests, but=PREFIX)
    urls = _urls(options, base, fhir, pacs, foreign)
    return Hospital(edged, line, pacs, foreign, urls, _Server(_config(edged, rules)))


def _config(app: ASGIApp, rules: Rules) -> uvicorn.Config:
    return uvicorn.Config(
        app, http=Line, ws="none", lifespan="off", log_config=None, log_level="critical",
        access_log=False, proxy_headers=False, server_header=False,
        date_header=not rules.clock_ahead_seconds, timeout_graceful_shutdown=1,
    )  # fmt: skip


def _app(options: Options, ehr: Ehr, archive: Archive, login: Login) -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.include_router(auth_router(login))
    if options.only != "pacs" and options.captures is None:
        app.include_router(fhir_router(ehr, login))
    if options.only != "ehr":
        origin = login.token_url.removesuffix("/auth/token")
        web = DicomWeb(archive, f"{origin}/dicom-web", ehr.rules)
        app.include_router(dicomweb_router(web, login))
    app.add_exception_handler(HTTPException, _not_routed)
    return app


def _replay(app: FastAPI, folder: Path, base: str, born: Born, login: Login) -> str:
    """Captured answers behind every other door; answers the first vendor's base."""
    replay = Replay(folder, base, born.first_of("Patient") or {"resourceType": "Patient"}, login)
    app.include_router(replay_router(replay, base))
    return base + replay.homes[0].path if replay.homes else base


def _refused_by(profile: Profile) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def refused(_request: Request, refusal: Exception) -> Response:
        if not isinstance(refusal, Refusal):
            raise refusal
        return profile.refused(refusal)

    return refused


async def _not_routed(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return refusal_answer(Refusal(status, "not-supported", "there is nothing like that here"))


def _client(options: Options) -> Client | None:
    if options.open_door:
        return None
    if not options.client_id or not options.jwks_url:
        raise ValueError("a client id and its JWKS URL are needed, or an open door")
    return Client(options.client_id, options.jwks_url)


def _clock(rules: Rules) -> Callable[[], float]:
    return lambda: time.time() + rules.clock_ahead_seconds


def _born(options: Options, rules: Rules, base: str, dicomweb: str) -> Born:
    """The chart's first content."""
    found = born_with(options.data / "ehr", rules)
    return Born(tuple(_located(one, dicomweb) for one in found), base)


def _located(resource: Resource, dicomweb: str) -> Resource:
    if resource.get("address") == "{dicomweb}":
        return resource | {"address": dicomweb}
    return resource


def _foreign(born: Born, files: Mapping[str, tuple[str, Path]]) -> Foreign:
    """Somebody else's server; it has what the first document shows."""
    names = (attachment["url"].rpartition("/")[2] for _, attachment in attached(born.resources))
    content_type, path = next((files[name] for name in names if name in files), ("", None))
    return Foreign(content_type or "text/plain", path.read_bytes() if path else b"").start()


def _archive(options: Options) -> Archive:
    """
    Part 10 files: `dicom/` of the case as they are, and those that `studies.json` describes.

    What lies in `push/`, or is described with `"pushed": true`, is not in the index.
    """
    pushed = list((options.data / "push").rglob("*.dcm"))
    listed = list((options.data / "dicom").rglob("*.dcm"))
    described = options.data / "studies.json"
    hidden = {open_instance(path).study for path in pushed}
    if described.exists():
        listed += _made(described, options.state / "studies")
        hidden |= {one["study_uid"] for one in _studies(described) if one.get("pushed")}
    return Archive([*listed, *pushed], hidden)


def _studies(described: Path) -> list[dict[str, Any]]:
    found = read_json(described.read_bytes())
    return list(found["studies"] if isinstance(found, dict) else found)


def _made(described: Path, out: Path) -> list[Path]:
    """The files of a description, made once for each state folder and description."""
    digest = hashlib.sha256(described.read_bytes()).hexdigest()
    done = out / digest
    if not done.exists():
        unfinished = out / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make_studies(described, unfinished)
        unfinished.rename(done)
    return [path for path in done.rglob("*") if path.is_file()]


def _pacs(options: Options, archive: Archive, rules: Rules, requests: Requests) -> Pacs:
    bridge = Node.parse(options.bridge_dimse) if options.bridge_dimse else None
    pacs = Pacs(archive, bridge, rules, requests)
    for candidate in _candidates(options.dimse_port):
        try:
            pacs.start(candidate)
        except OSError:
            continue
        return pacs
    raise OSError("no free port")


def _urls(
    options: Options, base: str, fhir: str, pacs: Pacs | None, foreign: Foreign | None
) -> dict[str, str | None]:
    return {
        "name": NAME,
        "fhir": None if options.only == "pacs" else fhir,
        "dicomweb": None if options.only == "ehr" else f"{base}/dicom-web",
        "dimse": f"{AE_TITLE}@{HOST}:{pacs.port}" if pacs else None,
        "control": f"{base}{PREFIX}",
        "foreign": foreign.url if foreign else None,
    }


def _listen(port: int) -> socket.socket:
    """A listening socket on the port, or on the next free one."""
    for candidate in _candidates(port):
        # asyncio sets TCP_NODELAY only where the protocol is named: else 40 ms an answer.
        line = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            line.bind((HOST, candidate))
        except OSError:
            line.close()
        else:
            return line
    raise OSError("no free port")


def _candidates(port: int) -> Sequence[int]:
    return range(port, port + _PORTS_TRIED) if port else (0,)
