"""Foreign documents made readable."""

from __future__ import annotations

from fhir_bridge.servers.console import reading

CDA = b"""<?xml version="1.0"?>
<!DOCTYPE x [<!ENTITY boom "never shown">]>
<ClinicalDocument xmlns="urn:hl7-org:v3"><title>Summary of care</title><component><structuredBody>
<component><section><title>Allergies &amp; reactions</title><text><table><thead><tr><th>Agent</th>
</tr></thead><tbody><tr><td>Penicillin<br/>&boom; rash</td></tr></tbody></table>
<list><item onclick="x()">Contrast</item></list>
<renderMultiMedia referencedObject="x"/>
<a href="https://evil.example">link text</a></text></section>
</component></structuredBody></component></ClinicalDocument>"""


def test_a_ccda_is_read_section_by_section() -> None:
    page = reading.read(CDA, "application/xml")
    assert "<h1>Summary of care</h1>" in page
    assert "<h2>Allergies &amp; reactions</h2>" in page
    assert "<td>Penicillin<br>" in page
    assert "<li>Contrast</li>" in page
    assert "link text" in page
    for harm in ("never shown", "onclick", "<a", "evil"):
        assert harm not in page


def test_xml_that_is_no_ccda_is_shown_as_it_is_written() -> None:
    assert reading.read(b"<a>1 < 2</a>", "text/xml") == "<pre>&lt;a&gt;1 &lt; 2&lt;/a&gt;</pre>"


def test_text_of_another_encoding_is_legible() -> None:
    assert reading.decoded("Müller".encode("cp1252")) == "Müller"
    assert reading.decoded("Müller".encode("utf-16")).endswith("Müller")
    assert reading.decoded(b"\xef\xbb\xbfplain") == "plain"


def test_html_keeps_its_words_and_loses_what_acts() -> None:
    page = reading.read(b"<h1>Report</h1><iframe src=x></iframe><form><p>text</form>", "text/html")
    assert "<h1>Report</h1>" in page
    assert "iframe" not in page
    assert "form" not in page
