"""An opinion as a specialist types it, and the case record it rests on."""

from __future__ import annotations

import hashlib

from fhir_bridge.case.opinion import Cited, Opinion
from fhir_bridge.pipeline.opinion.evidence import CitableRecord
from fhir_bridge.pipeline.opinion.parse import parse_opinion

HEAD = """---
title: Second opinion: liver metastases
author: Dr. A. Sample
qualification: Surgeon, MD
organisation: Second Opinion Centre
date: 2025-07-18
---
"""
BODY = """## Question

Operate?

## Opinion

Do **not** operate: CEA 6.90 ng/mL & <b>falling</b>.

| Test | Value |
|------|------:|
| CEA  | 6.90  |

3. third
4. fourth

## Evidence

- MR of the liver
- ct  Restaging.
"""
PATIENT = {
    "resourceType": "Patient",
    "identifier": [{"system": "https://general-hospital.example/mrn", "value": "GH-1"}],
    "name": [{"family": "Example", "given": ["Ann"]}],
    "gender": "female",
    "birthDate": "1960-02-29",
    "address": [{"city": "Exampleton"}],
}


def entry(title: str, number: int, content: str = "") -> Cited:
    """Something that may be cited."""
    sha256 = hashlib.sha256((content or str(number)).encode()).hexdigest()
    return Cited(f"urn:uuid:6f2b7f0e-5d0c-5a53-9f7e-{number:012x}", title, "2", sha256)


RECORD = CitableRecord(
    "ab" * 32,
    (entry("MR of the liver", 1), entry("CT restaging", 2), entry("Letter", 3), entry("Letter", 4)),
)


def parsed(text: str = HEAD + BODY, *, record: CitableRecord = RECORD, version: int = 1) -> Opinion:
    """The Markdown, read."""
    return parse_opinion(
        text.encode(), kind="md", opinion_id="o1", case_id="c1", version=version, record=record
    )
