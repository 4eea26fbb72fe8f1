"""The Markdown that an opinion may use, as blocks from which XHTML and the letter are both made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from fhir_bridge.standards.fhir.narrative import escape

# `kind` says which other keys there are: see `_block` and `_inline`.
Block = dict[str, Any]
Inline = dict[str, Any]
MAX_DEPTH = 12
# Markup is never an instruction: HTML, links and images stay the letters that were typed. Indented
# text is a paragraph, and a line of dashes below one is a rule, no heading.
_LEFT_OUT = ["link", "image", "autolink", "reference", "html_block", "html_inline"]
_LEFT_OUT += ["code", "lheading"]
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable(_LEFT_OUT)


def tokens(text: str) -> Sequence[Token]:
    """The flat tokens, for who needs line numbers."""
    return _MARKDOWN.parse(text)


def depth(text: str) -> int:
    """How deeply lists and quotes nest; beyond MAX_DEPTH the parser would drop words."""
    return max((token.level for token in tokens(text)), default=0)


def blocks(text: str) -> list[Block]:
    """
    Paragraphs, headings, lists, tables, quotes, code and rules.

    >>> blocks("Advice: **no** surgery")[0]["parts"][1]
    {'kind': 'strong', 'parts': [{'kind': 'text', 'text': 'no'}]}
    """
    return [_block(node) for node in SyntaxTreeNode(tokens(text)).children]


def plain(parts: Sequence[Inline]) -> str:
    """The letters of a line without its markup."""
    return "".join(
        " " if part["kind"] == "break" else part.get("text") or plain(part.get("parts", ()))
        for part in parts
    )


def _block(node: SyntaxTreeNode) -> Block:
    kind = node.type
    if kind in {"paragraph", "heading"}:
        parts = _parts(node.children[0])
        level = {"level": int(node.tag[1:])} if kind == "heading" else {}
        return {"kind": kind, "parts": parts, **level}
    if kind in {"bullet_list", "ordered_list"}:
        items = [[_block(child) for child in item.children] for item in node.children]
        start = int(node.attrs.get("start", 1)) if kind == "ordered_list" else 0
        # "0." begins at 1: zero stands for a list without numbers.
        return {"kind": "list", "start": start or int(kind == "ordered_list"), "items": items}
    if kind == "table":
        head, *rows = [[_cell(cell) for cell in row.children] for row in _rows(node)]
        return {"kind": "table", "head": head, "rows": rows, "align": _aligned(node)}
    if kind == "blockquote":
        return {"kind": "quote", "blocks": [_block(child) for child in node.children]}
    if kind == "hr":
        return {"kind": "rule"}
    return {"kind": "code", "text": node.content.rstrip("\n")}


def _rows(table: SyntaxTreeNode) -> Iterator[SyntaxTreeNode]:
    return (row for part in table.children for row in part.children)


def _cell(cell: SyntaxTreeNode) -> list[Inline]:
    return _parts(cell.children[0]) if cell.children else []


def _aligned(table: SyntaxTreeNode) -> list[str]:
    styles = [str(cell.attrs.get("style", "")) for cell in next(_rows(table)).children]
    return [style.removeprefix("text-align:") or "left" for style in styles]


def _parts(line: SyntaxTreeNode) -> list[Inline]:
    return [_inline(node) for node in line.children]


def _inline(node: SyntaxTreeNode) -> Inline:
    if node.type in {"strong", "em"}:
        return {"kind": node.type, "parts": _parts(node)}
    if node.type == "hardbreak":
        return {"kind": "break"}
    if node.type == "softbreak":
        return {"kind": "text", "text": " "}
    return {"kind": "code" if node.type == "code_inline" else "text", "text": node.content}


def xhtml(found: Sequence[Block]) -> str:
    """Blocks as plain XHTML that any chart's viewer can show (R4 narrative rules, no styles)."""
    return "".join(_xhtml(block) for block in found)


def _xhtml(block: Block) -> str:
    return _SHOWN[block["kind"]](block)


def _xhtml_list(block: Block) -> str:
    if block["start"] > 1:  # `start` is no attribute that a narrative may have
        numbered = enumerate(block["items"], block["start"])
        return "".join(f"<div>{number}. {_item(item)}</div>" for number, item in numbered)
    items = "".join(f"<li>{_item(item)}</li>" for item in block["items"])
    return f"<ol>{items}</ol>" if block["start"] else f"<ul>{items}</ul>"


def _item(item: Sequence[Block]) -> str:
    if item and item[0]["kind"] == "paragraph":
        return _line(item[0]["parts"]) + xhtml(item[1:])
    return xhtml(item)


def _xhtml_table(block: Block) -> str:
    head = "".join(f"<th>{_line(cell)}</th>" for cell in block["head"])
    rows = "".join(
        f"<tr>{''.join(f'<td>{_line(cell)}</td>' for cell in row)}</tr>" for row in block["rows"]
    )
    body = f"<tbody>{rows}</tbody>" if rows else ""
    return f"<table><thead><tr>{head}</tr></thead>{body}</table>"


def _line(parts: Sequence[Inline]) -> str:
    return "".join(_xhtml_inline(part) for part in parts)


def _xhtml_inline(part: Inline) -> str:
    match part["kind"]:
        case "strong":
            return f"<b>{_line(part['parts'])}</b>"
        case "em":
            return f"<i>{_line(part['parts'])}</i>"
        case "code":
            return f"<code>{escape(part['text'])}</code>"
        case "break":
            return "<br/>"
    return escape(part["text"])


_SHOWN: Mapping[str, Callable[[Block], str]] = {
    "paragraph": lambda block: f"<p>{_line(block['parts'])}</p>",
    "heading": lambda block: f"<p><b>{_line(block['parts'])}</b></p>",
    "list": _xhtml_list,
    "table": _xhtml_table,
    "quote": lambda block: f"<blockquote>{xhtml(block['blocks'])}</blockquote>",
    "rule": lambda _: "<hr/>",
    "code": lambda block: f"<pre>{escape(block['text'])}</pre>",
}
