"""The demo in a real browser, as a nurse and a specialist go through it, with its bad days."""

from __future__ import annotations

import os
import re
import time
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pynetdicom import AE

from . import pictures
from .peer import LOOPBACK, free_port
from .pictures import take
from .visit import (
    PULL_MS,
    TOKEN,
    Shown,
    Visit,
    demo,
    enter,
    kill,
    open_case,
    service,
    settings_of,
    slow_hospital,
    tab_to,
    visiting,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Locator, Page

# Follows the numbers of the case page as they change, without asking for anything.
_FOLLOW = """() => {
  const number = (id) => parseInt(document.querySelector(`#${id} .count`)?.textContent ?? "0");
  const look = () => ({
    documents: number("h-documents"),
    images: number("h-images"),
    thumbnails: document.querySelectorAll("#images img, [data-fragment=images] img").length,
    progress: document.querySelector("progress")?.position ?? -1,
    word: document.querySelector(".source .state").textContent.trim(),
  });
  window.followed = [look()];
  new MutationObserver(() => window.followed.push(look())).observe(document, {
    subtree: true, childList: true, characterData: true, attributes: true });
}"""


@contextmanager
def _at_the_demo(
    folder: Path, browser: Browser, *faults: str, **how: Any
) -> Iterator[tuple[Visit, Shown]]:
    with demo(folder, *faults) as shown, visiting(browser, **how) as visit:
        visit.page.goto(shown.link)
        yield visit, shown


def _go(visit: Visit, tab: str, heading: str) -> None:
    visit.page.get_by_role("navigation").get_by_role("link", name=tab, exact=True).click()
    visit.page.get_by_role("heading", name=heading).first.wait_for()


def _pulled(page: Page) -> None:
    page.get_by_role("link", name="Finish and deliver").wait_for(timeout=PULL_MS)


def _draft(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Text of the opinion")


def _rises(numbers: list[float]) -> bool:
    return all(before <= after for before, after in pairwise(numbers))


def test_a_nurse_pulls_and_a_specialist_answers_with_everything_live(
    browser: Browser, tmp_path: Path
) -> None:
    with _at_the_demo(tmp_path, browser) as (visit, shown):
        page = visit.page
        page.get_by_role("link", name="Pull records").wait_for()
        take(visit, "worklist")
        page.get_by_role("link", name="Pull records").click()
        page.get_by_role("heading", name="Oncology 0 of 9 here").wait_for()
        take(visit, "case-fresh")
        _pull_live(visit)
        take(visit, "case-complete")
        picture = pictures.for_the_readme(visit)
        if os.environ.get("FHIR_BRIDGE_PICTURE") == "1":
            pictures.into_the_docs(picture)
        _read(visit)
        _answer(visit)
        _look_into_the_chart(visit, shown)
        _look_around(visit, shown)
        assert visit.complaints == []


def _pull_live(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Pull records").click()
    page.evaluate(_FOLLOW)
    before = len(visit.asked)
    _pulled(page)
    page.get_by_role("heading", name="Oncology 9 of 9 here").wait_for()
    page.get_by_text("3 more are not listed").wait_for()
    loads = [path for path in visit.asked[before:] if re.fullmatch(r"GET /cases/[^/]+", path)]
    assert loads == [], "the page was loaded again"
    assert visit.paths("/events"), "nothing listens to what happens"
    _only_forward(page.evaluate("() => window.followed"))


def _only_forward(seen: list[dict[str, Any]]) -> None:
    assert len(seen) > 10, "the page did not change by itself"
    working = [one for one in seen if one["progress"] >= 0]
    assert _rises([one["progress"] for one in working])
    assert _rises([one["documents"] for one in working])
    for what in ("images", "thumbnails"):
        assert _rises([one[what] for one in seen]), what
    assert {one["word"] for one in seen} <= {"Waiting", "Working", "Complete"}
    assert (seen[-1]["images"], seen[-1]["documents"]) == (106, 38)


def _read(visit: Visit) -> None:
    page = visit.page
    _go(visit, "Documents", "Documents and reports")
    take(visit, "documents")
    page.get_by_role("link", name="Discharge summary: febrile neutropenia").click()
    page.get_by_role("heading", name="Discharge summary: febrile neutropenia").wait_for()
    take(visit, "document")
    _go(visit, "Case record", "Case record")
    take(visit, "record")
    _go(visit, "Completeness", "How complete this is")
    assert page.get_by_text("Complete, checked twice (94 of 94).").is_visible()
    take(visit, "certificate")
    _go(visit, "Ledger", "Every record seen")
    take(visit, "ledger")


def _answer(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("link", name="Finish and deliver").click()
    draft = _draft(page)
    draft.wait_for()
    take(visit, "opinion-draft")
    text = draft.input_value()
    assert "two to three weeks" in text
    draft.fill(text.replace("two to three weeks", "two weeks"))
    page.get_by_role("button", name="Finish and deliver").click()
    page.get_by_text("Delivered: the opinion is readable in the hospital's chart.").wait_for()
    rungs = page.locator(".ladder li")
    assert [rung.get_attribute("class") for rung in rungs.all()] == ["done"] * 6
    assert page.get_by_text("Operate within the next two weeks").is_visible()
    take(visit, "ladder-confirmed")
    _go(visit, "Overview", "Hospitals")
    take(visit, "case-delivered")


def _look_into_the_chart(visit: Visit, shown: Shown) -> None:
    page, back = visit.page, visit.page.url
    page.goto(shown.chart)
    delivered = page.get_by_role("region", name="From outside").get_by_role("article")
    assert delivered.count() == 1
    assert delivered.get_by_text("Dr. Imani Specimena").is_visible()
    take(visit, "hospital-chart")
    page.goto(back)


def _look_around(visit: Visit, shown: Shown) -> None:
    page = visit.page
    for place, name in (
        ("Unassigned", "unassigned-empty"),
        ("Sources", "sources"),
        ("Audit", "audit"),
    ):
        _go(visit, place, place)
        take(visit, name)
    _go(visit, "Cases", "Cases")
    take(visit, "worklist-finished")
    page.get_by_role("link", name="New case").click()
    page.get_by_role("heading", name="New case").wait_for()
    take(visit, "new-case")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    take(visit, "keys")
    visit.expect_error("status of 404")
    page.goto(f"{shown.base}/cases/00000000-0000-4000-8000-000000000000")
    take(visit, "error")
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("heading", name="Log in").wait_for()
    take(visit, "login")
    visit.expect_error("status of 401")
    page.goto(shown.link)
    page.get_by_role("alert").wait_for()
    take(visit, "login-refused")


def test_two_candidates_are_settled_by_keyboard_alone_and_the_pull_goes_on(
    browser: Browser, tmp_path: Path
) -> None:
    with _at_the_demo(tmp_path, browser, "two-candidates") as (visit, _shown):
        page = visit.page
        enter(page, "Pull records")
        enter(page, "Pull records")
        page.get_by_text("it is not certain. Please choose. Nothing was fetched.").wait_for()
        take(visit, "case-asks-who")
        enter(page, "Choose the patient")
        page.get_by_role("heading", name="Which patient at General Hospital is ours?").wait_for()
        take(visit, "identity")
        enter(page, "This one: candidate 1")
        _pulled(page)
        enter(page, "Case record")
        page.get_by_role("heading", name="Case record for a second opinion").wait_for()
        enter(page, "Finish and deliver")
        tab_to(page, "Text of the opinion")
        page.keyboard.press("Control+End")
        page.keyboard.type("\nThis is no list.")
        visit.expect_error("status of 4")
        enter(page, "Finish and deliver")
        page.get_by_role("alert").wait_for()
        take(visit, "opinion-refused")
        tab_to(page, "Text of the opinion")
        page.keyboard.press("Control+End")
        page.keyboard.press("Shift+Home")
        page.keyboard.press("Backspace")
        enter(page, "Finish and deliver")
        page.get_by_text("Delivered: the opinion is readable in the hospital's chart.").wait_for()
        assert visit.complaints == []


def test_plain_forms_do_the_whole_job_without_scripts(browser: Browser, tmp_path: Path) -> None:
    with _at_the_demo(tmp_path, browser, scripts=False) as (visit, shown):
        page = visit.page
        page.get_by_role("link", name="Pull records").click()
        page.get_by_role("button", name="Pull records").click()
        _reload_until(page, "Finish and deliver")
        _go(visit, "Case record", "Case record for a second opinion")
        page.get_by_role("link", name="Finish and deliver").click()
        draft = _draft(page)
        draft.fill(draft.input_value().replace("two to three weeks", "two weeks"))
        page.get_by_role("button", name="Finish and deliver").click()
        _reload_until(page, "Delivered")
        page.goto(shown.chart)
        assert page.get_by_role("region", name="From outside").get_by_role("article").count() == 1
        assert visit.complaints == []


def _reload_until(page: Page, text: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not page.get_by_text(text, exact=True).count():
        assert time.monotonic() < deadline, f"{text} never came"
        page.wait_for_timeout(500)
        page.reload()


def test_a_lost_page_is_said_in_words_and_a_refused_opinion_waits_for_a_person(
    browser: Browser, tmp_path: Path
) -> None:
    # Where dates are not heeded either, no second witness finds what the dropped pages held.
    faults = ("drop-next", "date-filter-ignored", "create-refused")
    with _at_the_demo(tmp_path, browser, *faults) as (visit, _shown):
        page = visit.page
        page.get_by_role("link", name="Pull records").click()
        page.get_by_role("button", name="Pull records").click()
        release = page.get_by_role("link", name="Release to the specialist")
        release.wait_for(timeout=PULL_MS)
        assert page.get_by_text(re.compile(r"\d+ of 27 documents are missing\.")).count()
        take(visit, "case-short")
        release.click()
        page.get_by_role("heading", name="Before the specialist reads it").wait_for()
        take(visit, "release")
        send = page.get_by_role("button", name="Release to the specialist")
        visit.expect_error("status of 4")
        send.click()
        page.get_by_role("alert").wait_for()
        take(visit, "release-without-a-reason")
        reason = page.get_by_role("textbox", name="Why it may be read nevertheless")
        reason.fill("The missing letters were read on the phone.")
        send.click()
        page.get_by_role("link", name="Finish and deliver").click()
        draft, send = _draft(page), page.get_by_role("button", name="Finish and deliver")
        send.click()
        page.get_by_text("the case record has no such document").wait_for()
        assert "two to three weeks" in draft.input_value(), "the text was lost"
        draft.fill(draft.input_value().partition("## Evidence")[0])
        send.click()
        page.locator(".ladder .needs").wait_for()
        take(visit, "ladder-held")
        assert visit.complaints == []


def test_a_dead_service_is_one_quiet_line_and_the_page_goes_on_when_it_returns(
    browser: Browser, tmp_path: Path
) -> None:
    port, settings = free_port(), settings_of(tmp_path, free_port())
    with ExitStack() as stack:
        first = stack.enter_context(service(tmp_path, settings, port))
        visit = stack.enter_context(visiting(browser))
        page = visit.page
        page.goto(f"http://{LOOPBACK}:{port}/login")
        page.get_by_label("Login token").fill(TOKEN)
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("No case is open.").wait_for()
        take(visit, "worklist-empty")
        _send_a_stranger(int(settings["FHIR_BRIDGE_DIMSE_PORT"]))
        open_case(tmp_path, stack.enter_context(slow_hospital(tmp_path)))
        _go(visit, "Unassigned", "Unassigned 1")
        take(visit, "unassigned-filled")
        _go(visit, "Cases", "Cases")
        page.get_by_role("link", name="Pull records").click()
        page.get_by_role("button", name="Pull records").click()
        page.get_by_text(re.compile(r"[1-9]\d* of 94 images")).wait_for(timeout=PULL_MS)
        take(visit, "case-pulling")
        visit.expect_error("ERR_")
        kill(first)
        quiet = page.get_by_text("This page goes on by itself when it returns.")
        quiet.wait_for()
        take(visit, "case-without-service")
        stack.enter_context(service(tmp_path, settings, port))
        quiet.wait_for(state="hidden")
        _pulled(page)
        assert visit.complaints == []


def _send_a_stranger(port: int) -> None:
    """An image of somebody who has no case here."""
    image = dcmread(str(get_testdata_file("CT_small.dcm")))
    sender = AE("STRANGER")
    sender.add_requested_context(image.SOPClassUID, image.file_meta.TransferSyntaxUID)
    association = sender.associate(LOOPBACK, port, ae_title="FHIRBRIDGE")
    assert association.send_c_store(image).Status == 0
    association.release()
