"""Pictures of every page state at three widths, light and dark, and what can be judged of them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from .peer import HERE, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from .visit import Visit

FOLDER = ROOT / "build" / "screenshots"
README_PICTURE = ROOT / "docs" / "console.png"
WIDTHS = (380, 1024, 1600)
SCHEMES = ("light", "dark")
AXE = HERE / "node" / "node_modules" / "axe-core" / "axe.min.js"
# WCAG 2.0 to 2.2, levels A and AA.
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# At these the accessibility rules are run: each scheme once, the narrowest and the middle layout.
_JUDGED = {(380, "light"), (1024, "dark")}
_TALLEST = 2400

_EAGER = """async () => {
  await document.fonts.ready;
  for (const image of document.images) {
    image.loading = "eager";
    try { await image.decode(); } catch { /* a missing preview shows its alternative text */ }
  }
}"""
# Text that is cut where nobody can scroll to it, and whatever makes the whole page scroll sideways.
_CUT = """(wide) => {
  const cut = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) cut.push(`the page is ${root.scrollWidth} wide`);
  for (const e of document.querySelectorAll("h1, h2, h3, p, td, th, li, button, a, .scroll")) {
    if (!e.offsetParent || e.closest(".hidden, .clamp, .cut, nav.tabs")) continue;
    if (e.matches(".scroll") && !wide) continue;
    if (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline")
      cut.push(`${e.tagName.toLowerCase()}.${e.className}: ${e.textContent.trim().slice(0, 40)}`);
  }
  return cut;
}"""
_AXE = """async (tags) => {
  const found = await axe.run(document, { runOnly: tags, resultTypes: ["violations"] });
  return found.violations.map((v) => `${v.id} (${v.impact}) at ${v.nodes[0].target}: ` +
    v.nodes[0].failureSummary);
}"""


def take(visit: Visit, name: str) -> None:
    """Picture the page in all sizes; cut text and breaches of WCAG become complaints."""
    page, before = visit.page, visit.page.viewport_size
    FOLDER.mkdir(parents=True, exist_ok=True)
    page.evaluate(_EAGER)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for found in page.evaluate(_CUT, width >= 1024):
            visit.complain(f"{name} at {width}: cut: {found}")
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            _shoot(visit, FOLDER / f"{name}-{width}-{scheme}.png")
            if (width, scheme) in _JUDGED:
                _judge(visit, f"{name} at {width}, {scheme}")
    page.emulate_media(color_scheme="light")
    if before is not None:
        page.set_viewport_size(before)


def _shoot(visit: Visit, file: Path) -> None:
    width, height = visit.page.evaluate(
        "() => [document.documentElement.clientWidth, document.documentElement.scrollHeight]"
    )
    clip: Any = {"x": 0, "y": 0, "width": width, "height": min(height, _TALLEST)}
    visit.page.screenshot(path=file, full_page=True, clip=clip)


def _judge(visit: Visit, where: str) -> None:
    if not AXE.exists():
        return
    page = visit.page
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    for breach in page.evaluate(_AXE, _RULES):
        visit.complain(f"{where}: {' '.join(breach.split())}")


def for_the_readme(visit: Visit) -> Path:
    """The console as the README shows it: 1280 by 800 pixels, light."""
    page, before, file = visit.page, visit.page.viewport_size, FOLDER / "console.png"
    page.set_viewport_size({"width": 1280, "height": 800})
    page.evaluate(_EAGER)
    page.screenshot(path=file)
    if before is not None:
        page.set_viewport_size(before)
    return file


def into_the_docs(file: Path) -> None:
    """Copy the README's picture to where the README finds it."""
    README_PICTURE.parent.mkdir(exist_ok=True)
    shutil.copyfile(file, README_PICTURE)
