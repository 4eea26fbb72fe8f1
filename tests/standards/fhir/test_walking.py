"""One walk finds references and attachments; replacing never edits what it was given."""

from __future__ import annotations

import copy

from fhir_bridge.standards.fhir.walking import path_text, replaced, walk

DOCUMENT = {
    "resourceType": "DocumentReference",
    "contained": [{"resourceType": "Practitioner", "id": "p", "photo": [{"url": "Binary/9"}]}],
    "identifier": [{"value": "1", "assigner": {"reference": "Organization/o"}}],
    "subject": {"reference": "Patient/1", "display": "somebody"},
    "author": [{"identifier": {"value": "77"}}, {"display": "only words"}],
    "content": [
        {"attachment": {"url": "Binary/1", "_url": {"id": "x"}}, "format": {"code": "x"}},
        {"attachment": {"data": "aGk=", "contentType": "text/plain"}},
    ],
    "extension": [{"url": "http://x.example", "valueReference": {"reference": "#p"}}],
    "meta": {"extension": [{"url": "http://x.example", "extension": []}]},
}


def paths(pairs):
    return [path_text(path) for path, _ in pairs]


def test_every_reference_is_found_with_its_path():
    assert paths(walk(DOCUMENT).references) == [
        "identifier[0].assigner",
        "subject",
        "author[0]",
        "extension[0].valueReference",
    ]


def test_attachments_are_told_from_elements_of_the_same_name():
    assert paths(walk(DOCUMENT).attachments) == [
        "contained[0].photo[0]",
        "content[0].attachment",
        "content[1].attachment",
    ]
    media = {"resourceType": "Media", "content": {"url": "Binary/2"}}
    assert paths(walk(media).attachments) == ["content"]


def test_replacing_copies_only_the_way_to_the_change():
    before = copy.deepcopy(DOCUMENT)
    changed = replaced(DOCUMENT, [(("subject",), {"reference": "urn:uuid:1"})])
    assert before == DOCUMENT
    assert changed["subject"] == {"reference": "urn:uuid:1"}
    assert changed["content"] is DOCUMENT["content"]


def test_a_change_inside_a_replaced_node_is_applied_where_its_place_still_is():
    node = {"x": {"identifier": {"value": "1", "assigner": {"reference": "Organization/o"}}}}
    inner = ("x", "identifier", "assigner")
    kept = replaced(node, [(("x",), {**node["x"], "display": "d"}), (inner, {"display": "o"})])
    assert kept["x"]["identifier"]["assigner"] == {"display": "o"}
    gone = replaced(node, [(("x",), {"display": "d"}), (inner, {"display": "o"})])
    assert gone == {"x": {"display": "d"}}
