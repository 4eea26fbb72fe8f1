"""CapabilityStatements, regular and odd."""

from __future__ import annotations

import pytest

from fhir_bridge.clients.capability import Capability

STATEMENT = {
    "resourceType": "CapabilityStatement",
    "fhirVersion": "4.0.1",
    "software": {"name": "An EHR"},
    "format": ["json", "xml"],
    "rest": [
        {
            "mode": "server",
            "interaction": [{"code": "transaction"}],
            "resource": [
                {
                    "type": "DocumentReference",
                    "interaction": [{"code": "read"}, {"code": "create"}],
                    "searchParam": [{"name": "patient"}],
                    "conditionalCreate": True,
                },
                {"type": "Binary", "interaction": [{"code": "read"}]},
            ],
        },
        {"mode": "client", "resource": [{"type": "Observation"}]},
    ],
}


def test_what_a_server_offers_is_read_by_type():
    capability = Capability.of(STATEMENT)
    assert (capability.fhir_version, capability.software) == ("4.0.1", "An EHR")
    assert capability.formats == ("json", "xml")
    assert capability.can("DocumentReference", "create")
    assert not capability.can("Binary", "create")
    assert not capability.can("Observation", "read")
    assert capability.searches("DocumentReference", "patient")
    assert capability.conditional_create == {"DocumentReference"}
    assert capability.transaction


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"rest": "x", "format": 3, "software": [], "fhirVersion": 4},
        {"rest": [None, {"resource": [None, {"type": None}, {"interaction": "x"}]}]},
        {"rest": [{"resource": [{"type": "A", "interaction": [3, {"code": 4}]}]}]},
    ],
)
def test_odd_shapes_are_tolerated(odd):
    assert not Capability.of(odd).can("A", "read")
