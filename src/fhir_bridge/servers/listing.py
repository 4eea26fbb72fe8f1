"""The page at /docs: the routes of this bridge, drawn from its own OpenAPI description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Interfaces - fhir-bridge</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="/static/icon.svg"><link rel="stylesheet" href="/static/console.css"></head>
<body><main class="page"><h1>Interfaces</h1>
<p class="lead">Every address that this bridge answers.
The same as <a href="/openapi.json">OpenAPI</a>.</p>
{groups}</main></body></html>"""
_TITLES = {"service": "Service", "fhir": "FHIR", "dicomweb": "DICOMweb", "console": "Console"}


def listing(description: Mapping[str, Any]) -> str:
    """An HTML page of an OpenAPI description's paths, grouped by their first tag."""
    groups: dict[str, list[str]] = {}
    for tag, row in _rows(description.get("paths", {})):
        groups.setdefault(tag, []).append(row)
    return _PAGE.format(groups="".join(_table(tag, rows) for tag, rows in groups.items()))


def _rows(paths: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for path, verbs in paths.items():
        for verb, route in verbs.items():
            tag = (route.get("tags") or ["console"])[0]
            yield (
                tag,
                (
                    f"<tr><td><code>{escape(verb.upper())}</code></td>"
                    f"<td><code>{escape(path)}</code></td>"
                    f"<td>{escape(route.get('summary', ''))}</td></tr>"
                ),
            )


def _table(tag: str, rows: list[str]) -> str:
    title = escape(_TITLES.get(tag, tag))
    return (
        f"<section><h2>{title}</h2><div class='scroll'><table class='list'><thead><tr>"
        "<th scope='col'>Verb</th><th scope='col'>Address</th><th scope='col'>What it gives</th>"
        "</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )
