"""A visitor: starts the demo as a person would, opens it in a browser, and notes what is wrong."""

from __future__ import annotations

import os
import re
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fhir_bridge.bridge import Bridge
from fhir_bridge.case.case import TreatingProvider
from fhir_bridge.security.access import LOCAL
from fhir_bridge.settings import Settings
from fhir_bridge.simulators.hospital import Options, RunningHospital, start_hospital
from fhir_bridge.standards.fhir import json
from fhir_bridge.store.cases import parse_node

from .peer import LOOPBACK, ROOT, PeerFailed, answers, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request

PROGRAM = Path(sys.executable).with_name("fhir-bridge")
CASE = ROOT / "fixtures" / "cases" / "oncology"
TOKEN = "a token for this test only"
ACTION_MS = 15_000
PULL_MS = 60_000
# A visitor's machine opens its browser by itself; `true` is a browser that shows nothing.
ENVIRONMENT = {"BROWSER": "true", "FHIR_BRIDGE_CONFIG": ""}
# What the demo says about itself, as a visitor reads it in the terminal.
_SAID = re.compile(r"chart\s+(?P<chart>http\S+)\s+open\s+(?P<link>http\S+)\s+Ctrl-C")


@dataclass(frozen=True, slots=True)
class Shown:
    """A demo that runs: the one-time link and the address of the hospital's chart."""

    link: str
    chart: str

    @property
    def base(self) -> str:
        """Where the console is."""
        return self.link.partition("/login")[0]


@contextmanager
def demo(folder: Path, *faults: str) -> Iterator[Shown]:
    """`fhir-bridge demo` until the block ends; then Ctrl-C, after which nothing may be left."""
    log = folder / "demo.log"
    words = [str(word) for name in faults for word in ("--fault", name)]

    def greeted() -> bool:
        return _SAID.search(log.read_text(errors="replace")) is not None

    with running(
        [PROGRAM, "demo", *words], log, ready=greeted, seconds=60, cwd=folder, env=ENVIRONMENT,
        ended_by=signal.SIGINT,
    ) as process:  # fmt: skip
        said = _SAID.search(log.read_text(errors="replace"))
        assert said is not None
        yield Shown(said["link"], said["chart"])
    if process.returncode != 0:
        raise PeerFailed(f"the demo ended with {process.returncode}: {log.read_text()[-2000:]}")


@contextmanager
def service(folder: Path, settings: Mapping[str, str], port: int) -> Iterator[int]:
    """`fhir-bridge serve` on a port until the block ends; yields its process id, to be killed."""
    env = {**ENVIRONMENT, **settings, "FHIR_BRIDGE_PORT": str(port)}

    def ready() -> bool:
        return answers(f"http://{LOOPBACK}:{port}/readyz")

    log = folder / "serve.log"
    with running([PROGRAM, "serve"], log, ready=ready, seconds=60, cwd=folder, env=env) as served:
        yield served.pid


def slow_hospital(folder: Path) -> RunningHospital:
    """General Hospital without a login, whose images take their time; a context manager."""
    faults = ("slow-images", "slow-pages")
    options = Options(data=CASE, state=folder / "hospital", open_door=True, faults=faults)
    return start_hospital(options)


def settings_of(folder: Path, dimse_port: int) -> Mapping[str, str]:
    """The environment of a service over a store in this folder; a dead worker is missed soon."""
    return {
        "FHIR_BRIDGE_DATA": str(folder / "bridge"),
        "FHIR_BRIDGE_DIMSE_PORT": str(dimse_port),
        "FHIR_BRIDGE_LOGIN_TOKEN": TOKEN,
        "FHIR_BRIDGE_LEASE_SECONDS": "2",
    }


def open_case(folder: Path, hospital: RunningHospital) -> str:
    """Make the hospital known and open the case, as `provider add` and `case new` do."""
    urls = hospital.urls
    provider = TreatingProvider(
        id="general-hospital",
        name=str(urls["name"]),
        fhir=str(urls["fhir"]),
        dimse=parse_node(str(urls["dimse"])),
        dicomweb=str(urls["dicomweb"]),
        issuers={"general-hospital": "https://general-hospital.example/mrn"},
    )
    patient = json.load_object((CASE / "patient.json").read_bytes())
    case = json.load_object((CASE / "case.json").read_bytes())
    with Bridge.open(Settings.load(data=folder / "bridge", log_level="ERROR")) as bridge:
        bridge.add_provider(provider)
        return bridge.new_case(LOCAL, patient, case["specialty"], case["question"], [provider.id])


def kill(pid: int) -> None:
    """End a process of ours without a word, as a power cut would."""
    os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Visit:
    """A page in a fresh profile, and everything about it that a nurse should never meet."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def expect_error(self, text: str) -> None:
        """From now on this console line is none: we asked for a page that is not there."""
        self.expected.append(text)

    def complain(self, text: str) -> None:
        """Note what is wrong, with the page where it was."""
        if not any(known in text for known in self.expected):
            self.complaints.append(f"{urlsplit(self.page.url).path}: {text}")
            print(self.complaints[-1])

    def paths(self, part: str) -> list[str]:
        """The paths asked for so far that contain this."""
        return [path for path in self.asked if part in path]


@contextmanager
def visiting(
    browser: Browser, *, scripts: bool = True, width: int = 1024, height: int = 800
) -> Iterator[Visit]:
    """A new visitor; console errors, refused content and calls to other hosts become complaints."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="light",
        java_script_enabled=scripts,
        reduced_motion="reduce",
    )
    context.set_default_timeout(ACTION_MS)
    visit = Visit(context.new_page())
    _watch(visit)
    try:
        yield visit
    finally:
        context.close()


def _watch(visit: Visit) -> None:
    def note_console(message: ConsoleMessage) -> None:
        # A breach of the content security policy is told here too, as an error.
        if message.type in ("error", "warning"):
            visit.complain(f"console: {message.text}")

    def note_exception(error: Error) -> None:
        visit.complain(f"script: {error.message}")

    def note_request(request: Request) -> None:
        found = urlsplit(request.url)
        visit.asked.append(f"{request.method} {found.path}")
        # The browser's own PDF reader asks itself, by schemes of its own.
        if found.scheme in ("http", "https", "ws", "wss") and found.hostname != LOOPBACK:
            visit.complain(f"asked another host: {found.hostname}")

    visit.page.on("console", note_console)
    visit.page.on("pageerror", note_exception)
    visit.page.on("request", note_request)


def tab_to(page: Page, name: str, *, most: int = 80) -> None:
    """Press Tab until the control with this accessible name has a visible focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate(_FOCUSED_NAME) == name:
            assert page.evaluate(_FOCUS_RING) == "3px", f"the focus on {name} does not show"
            return
    raise AssertionError(f"the keyboard does not reach {name} on {urlsplit(page.url).path}")


def enter(page: Page, name: str) -> None:
    """Go to this link or button by Tab, press Enter, and wait for the page that comes of it."""
    tab_to(page, name)
    with page.expect_navigation():
        page.keyboard.press("Enter")


_FOCUSED_NAME = """() => {
  const e = document.activeElement;
  const label = e.labels?.[0]?.textContent;
  return (e.getAttribute("aria-label") ?? label ?? e.textContent).trim().replace(/\\s+/g, " ");
}"""
_FOCUS_RING = "() => getComputedStyle(document.activeElement).outlineWidth"
