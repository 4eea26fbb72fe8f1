"""What the EHR says about itself: CapabilityStatement and SMART configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhir_bridge.simulators.bulk import operations
from fhir_bridge.simulators.login import ALGORITHMS
from fhir_bridge.simulators.rules import Rules
from fhir_bridge.simulators.searching import Parameter
from fhir_bridge.simulators.wire import FHIR_JSON, Resource

_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"


def statement(
    base: str, token_url: str, offered: Mapping[str, Mapping[str, Parameter]],
    created: tuple[str, ...], rules: Rules,
) -> Resource:  # fmt: skip
    """The CapabilityStatement of R4 4.0.1; `offered` is type -> its search parameters."""
    named = {"software": {"name": rules.software, "version": "1"}} if rules.software else {}
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-01-01",
        "kind": "instance",
        **named,
        "implementation": {"description": "General Hospital", "url": base},
        "fhirVersion": "4.0.1",
        "format": [FHIR_JSON, "json"],
        "rest": [
            {
                "mode": "server",
                "security": _security(token_url, rules.security),
                "resource": [
                    _resource(kind, rows, kind in created) for kind, rows in offered.items()
                ],
            }
        ],
    }


def _security(token_url: str, services: tuple[str, ...]) -> Resource:
    if not services:
        return {"cors": True}
    uris = [{"url": "token", "valueUri": token_url}]
    return {
        "extension": [{"url": _OAUTH_URIS, "extension": uris}],
        "service": [
            {"coding": [{"system": _SECURITY_SERVICE, "code": service}]} for service in services
        ],
    }


def _resource(kind: str, rows: Mapping[str, Parameter], creates: bool) -> Resource:
    interactions = ["read", "vread"] + ([] if kind == "Binary" else ["search-type"])
    described: Resource = {
        "type": kind,
        "interaction": [{"code": c} for c in interactions + (["create"] if creates else [])],
        "versioning": "versioned",
        "conditionalCreate": creates and kind != "Binary",
    }
    if kind == "Binary":
        return described
    listed = [{"name": row.name, "type": row.kind} for row in rows.values()]
    named = {"operation": operations(kind)} if operations(kind) else {}
    return described | {"searchParam": listed} | named


def smart_configuration(token_url: str) -> dict[str, Any]:
    """SMART App Launch 2.2, conformance.html; `code_challenge_...` is required of everybody."""
    return {
        "token_endpoint": token_url,
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "scopes_supported": ["system/*.rs", "system/*.read", "system/DocumentReference.crs",
                             "system/Binary.crs"],
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
        "code_challenge_methods_supported": ["S256"],
    }  # fmt: skip
