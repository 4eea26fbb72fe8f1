"""One bridge behind its web server: HTTP, DICOM receiver and workers in one process."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from fhir_bridge import clock
from fhir_bridge.bridge import Bridge
from fhir_bridge.case.case import DimseNode
from fhir_bridge.errors import PortTaken
from fhir_bridge.logs import set_up_logs
from fhir_bridge.pipeline.receive.preview import thumbnail
from fhir_bridge.servers import console
from fhir_bridge.servers.dicomweb.stow import router as stow_router
from fhir_bridge.servers.fhir import make_router as fhir_router
from fhir_bridge.servers.web import make_app
from fhir_bridge.settings import Settings
from fhir_bridge.standards.fhir import json

STOP_SECONDS = 8


def make_web(bridge: Bridge, running: Callable[[], bool]) -> FastAPI:
    """Every router of the bridge behind one gate."""
    room = console.Room(
        store=bridge.store,
        access=bridge.access,
        door=bridge.door,
        actions=bridge,
        desk=bridge.desk,
        preview=thumbnail,
        now=clock.now,
        organisation=bridge.settings.organisation,
        secure=bool(bridge.settings.tls_certificate),
        running=running,
    )
    return make_app(
        routers=[
            stow_router(bridge.receiver, sender=_pushed_by_http),
            fhir_router(
                store=bridge.store,
                access=bridge.access,
                now=clock.now,
                public_url=bridge.public_url,
            ),
            console.make_router(room),
        ],
        door=bridge.door,
        settings=bridge.settings,
        jwks=bridge.keys.jwks,
        ready=bridge.ready,
        error_page=console.error_page(room),
    )


def _pushed_by_http() -> str:
    """The source of a STOW: whoever holds the login; senders of their own come with mutual TLS."""
    return "push:stow"


def listening_socket(host: str, port: int) -> socket.socket:
    """
    The web server's socket; raises PortTaken.

    The protocol is named, because asyncio turns Nagle off only for sockets that say TCP: without
    it every answer waits 40 ms for the peer's delayed acknowledgement.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise PortTaken(f"port {port} on {host} is taken: set FHIR_BRIDGE_PORT") from None
    return listener


def web_server(bridge: Bridge) -> uvicorn.Server:
    """Uvicorn over the bridge's routers; without an access log, which would hold ids."""
    settings = bridge.settings
    servers: list[uvicorn.Server] = []
    config = uvicorn.Config(
        make_web(bridge, running=lambda: not (servers and servers[0].should_exit)),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        ssl_certfile=str(settings.tls_certificate) if settings.tls_certificate else None,
        ssl_keyfile=str(settings.tls_key) if settings.tls_key else None,
    )
    servers.append(uvicorn.Server(config))
    return servers[0]


@contextmanager
def serving(settings: Settings) -> Iterator[Bridge]:
    """A whole bridge in this process, its web server on a thread; used by the demo."""
    with listening_socket(settings.host, settings.port) as listener:
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        with Bridge.open(settings) as bridge:
            bridge.start(serving=bridge.public_url)
            with _on_a_thread(bridge, listener):
                yield bridge


@contextmanager
def web(bridge: Bridge) -> Iterator[None]:
    """The web server of a bridge that is open already, on a thread; raises PortTaken."""
    settings = bridge.settings
    with listening_socket(settings.host, settings.port) as listener, _on_a_thread(bridge, listener):
        yield


@contextmanager
def _on_a_thread(bridge: Bridge, listener: socket.socket) -> Iterator[None]:
    server = web_server(bridge)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS + 2)


def serve_until_stopped(settings: Settings, *, as_json: bool = False) -> None:
    """`fhir-bridge serve`: until SIGTERM or Ctrl-C; finishes the steps in hand."""
    set_up_logs(settings.log_level)
    with listening_socket(settings.host, settings.port) as listener:
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        with Bridge.open(settings) as bridge:
            bridge.start(serving=bridge.public_url)
            _greet(bridge, as_json=as_json)
            server = web_server(bridge)
            _stop_on_signals(server)
            server.run([listener])
    if not bridge.calm:
        os._exit(0)  # as kill -9 would, which every step survives; its thread would hold us


def _greet(bridge: Bridge, *, as_json: bool) -> None:
    once = "" if bridge.settings.login_token.get_secret_value() else bridge.door.link()
    login = f"{bridge.public_url}/login" + (f"?t={once}" if once else "")
    node = DimseNode(bridge.settings.dimse_aet, bridge.settings.dimse_host, bridge.dimse_port)
    facts = {"url": bridge.public_url, "dicom": str(node), "login": login}
    lines = (
        f"fhir-bridge serves {bridge.public_url}",
        f"DICOM receiver {node}",
        f"open the console (once): {login}" if once else f"log in at {login}",
    )
    # Past Python's buffer: whoever reads a pipe waits for these lines.
    os.write(1, (json.dumps(facts) if as_json else "\n".join(lines).encode()) + b"\n")


def _stop_on_signals(server: uvicorn.Server) -> None:
    def stop(*_: Any) -> None:
        server.should_exit = True

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
