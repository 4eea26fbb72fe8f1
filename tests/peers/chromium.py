"""Debian's Chromium, driven by Playwright: the browser in which the nurse sees the console."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from .peer import need

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Error, Page

PROGRAM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    # Whatever asks for another host gets an error and never leaves this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


@dataclass(frozen=True, slots=True)
class OpenPage:
    """A page in a fresh profile, and every error that its console or its scripts reported."""

    page: Page
    errors: list[str] = field(default_factory=list)


@contextmanager
def launched() -> Iterator[Browser]:
    """Run headless Chromium. While it runs, `asyncio.run` cannot be called in the same thread."""
    need("chromium", PROGRAM)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=PROGRAM, args=list(FLAGS), timeout=30_000
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser) -> Iterator[OpenPage]:
    """A new empty page with its own cookies and storage; actions time out after 10 s."""
    context = browser.new_context()
    context.set_default_timeout(10_000)
    opened_page = OpenPage(context.new_page())
    _collect_errors(opened_page)
    try:
        yield opened_page
    finally:
        context.close()


def _collect_errors(opened_page: OpenPage) -> None:
    """What the page writes to the console as an error, and what no script of it catches."""

    def note_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            opened_page.errors.append(message.text)

    def note_exception(error: Error) -> None:
        opened_page.errors.append(error.message)

    opened_page.page.on("console", note_console)
    opened_page.page.on("pageerror", note_exception)
