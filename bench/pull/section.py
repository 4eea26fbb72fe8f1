"""Pages that several commands write: each has a section of its own and leaves the others alone."""

from __future__ import annotations

import re
from pathlib import Path

_HEAD = "# Measured\n\nEvery section is written by the command that measures it.\n"


def put_section(page: Path, title: str, text: str) -> None:
    """Write the section `## title` of a page anew, where it stands or at the end."""
    known = page.read_text("utf-8") if page.exists() else _HEAD
    section = f"## {title}\n\n{text.strip()}\n"
    pattern = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if pattern.search(known):
        known = pattern.sub(lambda _: f"{section}\n", known)
    else:
        known = f"{known.rstrip()}\n\n{section}"
    page.write_text(known.rstrip() + "\n", "utf-8")
