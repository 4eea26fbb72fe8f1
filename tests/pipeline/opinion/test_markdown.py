from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_bridge.pipeline.opinion.markdown import MAX_DEPTH, blocks, depth, plain, xhtml
from fhir_bridge.standards.fhir.narrative import accepted, div

HEADED = "<table><thead><tr><th>a</th></tr></thead>"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a **b** *c* `d`", "<p>a <b>b</b> <i>c</i> <code>d</code></p>"),
        ("- a\n- b\n  - c", "<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>"),
        ("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>"),
        ("3. a\n4. b", "<div>3. a</div><div>4. b</div>"),
        ("### a", "<p><b>a</b></p>"),
        ("> a", "<blockquote><p>a</p></blockquote>"),
        ("a\n\n---\n\nb", "<p>a</p><hr/><p>b</p>"),
        ("a\n---", "<p>a</p><hr/>"),
        ("a  \nb", "<p>a<br/>b</p>"),
        ("```\na <b>\n```", "<pre>a &lt;b&gt;</pre>"),
        ("    indented", "<p>indented</p>"),
        ("<script>x</script>", "<p>&lt;script&gt;x&lt;/script&gt;</p>"),
        ("[a](http://b) ![c](d) <http://e>",
         "<p>[a](http://b) ![c](d) &lt;http://e&gt;</p>"),
        ("|a|\n|-|", "<table><thead><tr><th>a</th></tr></thead></table>"),
        ("|a|\n|-|\n||", f"{HEADED}<tbody><tr><td></td></tr></tbody></table>"),
    ],
)  # fmt: skip
def test_markdown_becomes_plain_xhtml_and_never_markup_of_its_author(text: str, shown: str) -> None:
    assert xhtml(blocks(text)) == shown


def test_the_plain_text_of_a_line_has_its_letters_only() -> None:
    assert plain(blocks("a **b *c*** `d`")[0]["parts"]) == "a b c d"


WORD = st.text(st.sampled_from("abc6.,&<>é漢"), min_size=1, max_size=6).filter(
    lambda word: any(c.isalnum() for c in word)
)


@settings(max_examples=100, deadline=None)
@given(st.lists(WORD, min_size=1, max_size=12), st.sampled_from(["{}", "- {}", "> {}", "**{}**"]))
def test_no_word_is_lost_and_the_narrative_is_accepted(words: list[str], shape: str) -> None:
    line = "x" + " ".join(words)
    narrative = div(xhtml(blocks(shape.format(line))))
    assert accepted(narrative) is not None
    text = re.sub(r"<[^>]*>", "", narrative)
    for escaped, letter in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(escaped, letter)
    assert text.split() == line.split()


def test_depth_tells_before_the_parser_would_drop_words() -> None:
    deep = "> " * (MAX_DEPTH - 2) + "word"
    assert depth(deep) <= MAX_DEPTH
    assert "word" in xhtml(blocks(deep))
    assert depth("> " * 30 + "word") > MAX_DEPTH
