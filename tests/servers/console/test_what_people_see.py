"""
Every page state in a real browser at 380, 1024 and 1600 pixels, light and dark: nothing sticks out,
nothing is reported on the browser's console. The pictures go to FHIR_BRIDGE_PICTURES if it is set.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
import uvicorn
from tests.servers.conftest import Bridge, make_bridge

from fhir_bridge.store.shelves import Store

from .scenes import everything

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
PAGES = {
    "worklist": "/",
    "fresh": "/cases/fresh",
    "pulling": "/cases/pulling",
    "resting": "/cases/resting",
    "resting-certificate": "/cases/resting/certificate",
    "many-kinds": "/cases/kinds",
    "many-kinds-certificate": "/cases/kinds/certificate",
    "identity": "/cases/asking/identity/general-hospital",
    "ready": "/cases/ready",
    "release": "/cases/ready/release",
    "certificate": "/cases/ready/certificate",
    "ledger": "/cases/ready/ledger",
    "documents": "/cases/ready/documents",
    "record": "/cases/written/record",
    "opinion": "/cases/written/opinion",
    "delivered": "/cases/delivered/opinion",
    "refused": "/cases/refused",
    "long-name": "/cases/long",
    "right-to-left": "/cases/arabic",
    "hostile": "/cases/hostile",
    "unassigned": "/unassigned",
    "sources": "/sources",
    "audit": "/audit",
    "new": "/cases/new",
    "interfaces": "/docs",
}
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed")


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[tuple[Bridge, str]]:
    """The scenes behind a real server on a free port."""
    folder = tmp_path_factory.mktemp("scenes")
    url = f"sqlite:///{folder / 'b.sqlite'}"
    store = Store.open(url, folder / "store", lease=timedelta(seconds=15))
    quiet = structlog.make_filtering_bound_logger(logging.ERROR)
    before = structlog.get_config()
    structlog.configure(wrapper_class=quiet)
    bridge = make_bridge(store)
    everything(bridge.seed)
    config = uvicorn.Config(bridge.app, port=0, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield bridge, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=10)
    structlog.configure(**before)
    store.close()


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1024, 1600])
def test_pages_fit_and_report_nothing(served, chromium, width, scheme, tmp_path) -> None:
    bridge, base = served
    pictures = Path(os.environ.get("FHIR_BRIDGE_PICTURES") or tmp_path)
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, reported = context.new_page(), []
    page.on("console", lambda m: reported.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: reported.append(str(error)))
    page.goto(f"{base}/login?t={bridge.door.link()}")
    for name, path in PAGES.items():
        page.goto(base + path)
        page.screenshot(path=pictures / f"{name}-{width}-{scheme}.png", full_page=True)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name} sticks out by {wide} pixels"
        assert page.locator("h1").count() == 1
    assert reported == []
    context.close()


@pytest.fixture
def page(served, chromium):
    """A logged-in page."""
    bridge, base = served
    context = chromium.new_context(base_url=base)
    opened = context.new_page()
    opened.set_default_timeout(8000)
    opened.goto(f"/login?t={bridge.door.link()}")
    yield opened
    context.close()


def test_a_page_changes_by_itself_and_keeps_what_a_person_does(served, page) -> None:
    bridge, _ = served
    bridge.seed.case("alive")
    page.goto("/cases/alive")
    page.locator("#q").fill("half a na")
    summary = page.locator("article.source summary")
    summary.click()
    bridge.seed.pinned("alive")
    bridge.seed.records(
        "alive",
        "DocumentReference",
        [{"resourceType": "DocumentReference", "id": "n1", "type": {"text": "A new letter"}}],
    )
    page.get_by_role("link", name="A new letter").first.wait_for()
    assert page.locator("#q").input_value() == "half a na"
    assert page.locator("article.source details").get_attribute("open") is not None


def test_progress_never_runs_backwards(served, page) -> None:
    bridge, _ = served
    bridge.seed.case("onward")
    bridge.seed.pinned("onward")
    bridge.seed.step("onward", "general-hospital", "fetching images")
    bridge.seed.images("onward", "500", "500", 3, claimed=4)
    page.goto("/cases/onward")
    bar = page.locator("progress")
    assert bar.evaluate("bar => bar.position") == 0.85
    bridge.seed.images("onward", "501", "501", 1, claimed=30)
    page.get_by_text("4 of 34 images").wait_for()
    assert bar.evaluate("bar => bar.position") >= 0.85


def test_the_worklist_is_walked_by_keys(page) -> None:
    page.goto("/")
    page.keyboard.press("j")
    first = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.textContent") != first
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.textContent") == first
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"


def test_everything_works_without_scripts(served, chromium) -> None:
    bridge, base = served
    context = chromium.new_context(base_url=base, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"/login?t={bridge.door.link()}")
    page.get_by_role("link", name="ABERNATHY-COLE, Rosalind").click()
    page.get_by_role("button", name="Pull records").click()
    page.wait_for_url("**/cases/fresh")
    assert ("pull", "local", "fresh", None) in bridge.deeds.done
    page.get_by_label("Find a case").fill("haddad")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="HADDAD, Youssef").wait_for()
    context.close()
