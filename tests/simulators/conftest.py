"""Hospitals that serve the small case on real ports, and a client's keys behind a JWKS URL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from fhir_bridge.simulators.hospital import Options
from fhir_bridge.simulators.wire import write_json

from .small_case import Keys, Visit, visiting, write_case


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small case as a folder."""
    folder = tmp_path_factory.mktemp("case")
    write_case(folder)
    return folder


@pytest.fixture
def open_hospital(case: Path, tmp_path: Path) -> Callable[..., AbstractContextManager[Visit]]:
    """Opens a hospital without login, with the named faults."""

    def opened(*faults: str, **more: Any) -> AbstractContextManager[Visit]:
        state = more.pop("state", tmp_path / "state")
        settings = {"open_door": True} | more
        return visiting(Options(case, state, faults=faults, **settings))

    return opened


@pytest.fixture(scope="module")
def healthy(case: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """One hospital without login and without faults for a whole test file."""
    with visiting(Options(case, tmp_path_factory.mktemp("state"), open_door=True)) as visit:
        yield visit


@pytest.fixture(scope="session")
def keys() -> Iterator[Keys]:
    """Two key pairs behind a JWKS URL."""
    rsa = RSAKey.generate_key(2048, {"kid": "RS384", "use": "sig"})
    ec = ECKey.generate_key("P-384", {"kid": "ES384", "use": "sig"})
    body = write_json({"keys": [rsa.as_dict(private=False), ec.as_dict(private=False)]})

    class Door(BaseHTTPRequestHandler):
        wbufsize = -1

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Keys(f"http://127.0.0.1:{server.server_port}/jwks", {"RS384": rsa, "ES384": ec})
    server.shutdown()
    server.server_close()
