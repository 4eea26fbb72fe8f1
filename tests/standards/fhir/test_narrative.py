"""Narratives: ours cannot be broken by a value, foreign ones cannot act."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from fhir_bridge.standards.fhir.narrative import (
    accepted,
    bullets,
    div,
    heading,
    paragraph,
    shown,
    table,
)

NS = 'xmlns="http://www.w3.org/1999/xhtml"'


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=3), st.text())
def test_whatever_a_value_holds_our_narrative_is_well_formed(rows, text):
    made = div(heading(text), paragraph(text), bullets([text]), table(("a", "b"), rows))
    etree.fromstring(made.encode())
    assert accepted(made) is not None


@pytest.mark.parametrize(
    "foreign",
    [
        f"<div {NS}><script>alert(1)</script>x</div>",
        f"<div {NS}><img src='http://x/y.png'/>x</div>",
        f"<div {NS}><iframe src='x'/>x</div>",
        f"<div {NS}><form><input/></form>x</div>",
        f"<div {NS}><style>p{{}}</style>x</div>",
        f"<div {NS}>  </div>",
        f"<p {NS}>x</p>",
        "<div>x</div>",
        f"<div {NS}>x",
        f'<!DOCTYPE d [<!ENTITY a "b">]><div {NS}>&a;</div>',
        f"<div {NS}><?php x?>x</div>",
        f"<div {NS}>&unheardof;</div>",
        None,
        7,
    ],
)
def test_a_foreign_narrative_that_is_not_plain_is_not_let_in(foreign):
    assert accepted(foreign) is None


def test_a_plain_foreign_narrative_keeps_its_text_and_loses_what_could_act():
    kept = accepted(
        f'<div {NS}><p onclick="x()" style="color:red" class="c">BP &lt; 120&nbsp;mmHg'
        '<a href="http://h:1/x">link</a><br/></p></div>'
    )
    assert kept == f'<div {NS}><p class="c">BP &lt; 120\xa0mmHg<a>link</a><br/></p></div>'


def test_foreign_html_is_shown_without_scripts_links_or_images():
    html = shown("<p onclick=x>a<script>b</script><img src=x><a href='http://x'>c</a></p>")
    assert html == "<p>ac</p>"
