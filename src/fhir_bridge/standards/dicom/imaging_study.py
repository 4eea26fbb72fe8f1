"""Builds the R4 ImagingStudy of a study from the headers that we hold, row by row of the table."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from fhir_bridge import tables
from fhir_bridge.errors import Unreadable, UsageError
from fhir_bridge.standards.dicom.header import Code, Facts

DCM = "http://dicom.nema.org/resources/ontology/DCM"
_UID_SYSTEM, _URI_SYSTEM = "urn:dicom:uid", "urn:ietf:rfc:3986"
_IDENTIFIER_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
_SCHEMES = MappingProxyType(
    {
        "DCM": DCM,
        "SCT": "http://snomed.info/sct",
        "LN": "http://loinc.org",
        "UCUM": "http://unitsofmeasure.org",
        "RADLEX": "http://radlex.org",
    }
)
_OTHER = {"system": DCM, "code": "OT", "display": "Other"}
_TIME = re.compile(r"(\d{2})(\d{2})(\d{2})?(\.\d{1,6})?$")
_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})$")

Json = dict[str, Any]
Convert = Callable[[Facts, tables.Row], object]


def imaging_study(
    headers: Iterable[Facts], *, subject: Mapping[str, object], complete: bool
) -> Json:
    """
    The ImagingStudy of one study (FHIR R4 ImagingStudy, PS3.20 has no rule of its own).

    `headers` are those of every instance that we hold; counts are of them, never the source's
    claim. `status` is `available` only when `complete`, else `registered`. The same headers in
    any order give the same study; an instance that comes twice counts once. Raises Unreadable
    when an identity is missing and UsageError when the headers are of more than one study.
    """
    held = sorted(headers, key=_instance_order)
    if len({facts.text("StudyInstanceUID") for facts in held}) != 1:
        raise UsageError("an ImagingStudy is made of the instances of exactly one study")
    groups: dict[str, list[Facts]] = {}
    for facts in held:
        groups.setdefault(facts.text("SeriesInstanceUID"), []).append(facts)
    series = sorted((_series(group) for group in groups.values()), key=_series_order)
    codes = sorted({one["modality"]["code"] for one in series})
    return {
        "resourceType": "ImagingStudy",
        **_level("study", held),
        "status": "available" if complete else "registered",
        "subject": dict(subject),
        "modality": [{"system": DCM, "code": code} for code in codes],
        "numberOfSeries": len(series),
        "numberOfInstances": sum(one["numberOfInstances"] for one in series),
        "series": series,
    }


def _series(held: list[Facts]) -> Json:
    once = {facts.text("SOPInstanceUID"): facts for facts in reversed(held)}
    instances = [_level("instance", [once[uid]]) for uid in reversed(once)]
    series = _level("series", held)
    return series | {"numberOfInstances": len(instances), "instance": instances}


def _level(level: str, held: Sequence[Facts]) -> Json:
    """The elements of one level: for each row the first instance that has a value."""
    found: Json = {}
    for row in tables.rows("dicom", "imaging-study.csv"):
        if row["level"] != level or row["as"].startswith("with:"):
            continue
        element = row["fhir_path"].removeprefix("series.").removeprefix("instance.")
        convert = CONVERTERS[row["as"].partition(":")[0]]
        value = next((v for facts in held if (v := convert(facts, row)) is not None), None)
        if value is None and row["if_absent"] == "reject":
            raise Unreadable(f"{row['keyword']} is missing")
        if value is not None:
            _place(found, element, value, row)
    return _titled(found)


def _place(found: Json, element: str, value: object, row: tables.Row) -> None:
    name, _, leaf = element.partition(".")
    if row["as"].startswith("title:"):
        found.setdefault("titles", {})[row["as"]] = value
    elif name == "identifier":
        found.setdefault(name, []).append(value)
    else:
        found[name] = {leaf: value} if leaf else value


def _titled(found: Json) -> Json:
    titles = found.pop("titles", None)
    if titles:
        found["title"] = titles[min(titles)]
    if "identifier" in found:
        # The study's own UID is the business identifier that readers look for first.
        found["identifier"].sort(key=lambda one: one.get("system") != _UID_SYSTEM)
    return found


def _text(facts: Facts, row: tables.Row) -> object:
    text = facts.text(row["keyword"])
    return text or None


def _uid(facts: Facts, row: tables.Row) -> object:
    return facts.text(row["keyword"]) or None


def _uid_identifier(facts: Facts, row: tables.Row) -> object:
    uid = facts.text(row["keyword"])
    return {"system": _UID_SYSTEM, "value": f"urn:oid:{uid}"} if uid else None


def _plain_identifier(facts: Facts, row: tables.Row) -> object:
    value = facts.text(row["keyword"])
    return {"value": value} if value else None


def _accession(facts: Facts, row: tables.Row) -> object:
    value = facts.text(row["keyword"])
    kind = {"coding": [{"system": _IDENTIFIER_TYPES, "code": "ACSN"}]}
    return {"type": kind, "value": value} if value else None


def _sop_class(facts: Facts, row: tables.Row) -> object:
    uid = facts.text(row["keyword"])
    return {"system": _URI_SYSTEM, "code": f"urn:oid:{uid}"} if uid else None


def _modality(facts: Facts, row: tables.Row) -> object:
    code = facts.text(row["keyword"])
    return {"system": DCM, "code": code} if code else dict(_OTHER)


def _number(facts: Facts, row: tables.Row) -> object:
    number = facts.text(row["keyword"])
    # R4 unsignedInt ends at 2^31 - 1.
    return int(number) if number.isdigit() and int(number) < 2**31 else None


def _started(facts: Facts, row: tables.Row) -> object:
    date = facts.text(row["keyword"])
    if len(date) != 8 or not date.isdigit():
        return None
    day = f"{date[:4]}-{date[4:6]}-{date[6:]}"
    time = _TIME.match(facts.text(row["keyword"].replace("Date", "Time")))
    offset = _OFFSET.match(facts.text("TimezoneOffsetFromUTC"))
    if not _exists(day):
        return None
    if time is None or offset is None:
        return day  # R4 dateTime has no time without an offset
    hour, minute, second, fraction = time.groups()
    sign, hours, minutes = offset.groups()
    moment = f"{day}T{hour}:{minute}:{second or '00'}"
    if not _exists(f"{moment}{sign}{hours}:{minutes}"):
        return day
    return f"{moment}{fraction or ''}{sign}{hours}:{minutes}"


def _exists(moment: str) -> bool:
    try:
        datetime.fromisoformat(moment)
    except ValueError:
        return False
    return True


def _person_name(facts: Facts, row: tables.Row) -> object:
    groups = [g for g in facts.text(row["keyword"]).split("=") if g.strip("^ ")]
    if not groups:
        return None
    family, given, middle, prefix, suffix = (groups[0].split("^") + [""] * 5)[:5]
    return " ".join(part for part in (prefix, given, middle, family, suffix) if part.strip())


def _concepts(facts: Facts, row: tables.Row) -> object:
    codes = facts.codes.get(row["keyword"], ())
    found = [concept for code in codes if (concept := _concept(code))]
    return found or None


def _concept(code: Code) -> Json:
    coding: Json = {}
    if code.value and code.scheme:
        coding["system"] = _SCHEMES.get(code.scheme, f"urn:dicom:scheme:{code.scheme}")
        coding["code"] = code.value
    if code.meaning:
        coding["display"] = code.meaning
    concept: Json = {"coding": [coding]} if coding else {}
    return concept | ({"text": code.meaning} if code.meaning else {})


def _body_site(facts: Facts, row: tables.Row) -> object:
    part = facts.text(row["keyword"])
    return {"display": part} if part else None


def _laterality(facts: Facts, row: tables.Row) -> object:
    side = facts.text(row["keyword"])
    known = (r for r in tables.rows("dicom", "laterality.csv") if r["code"] == side)
    found = next(known, None)
    if found is None:
        return None
    return {"system": found["system"], "code": found["value"], "display": found["display"]}


def _title(facts: Facts, row: tables.Row) -> object:
    if row["vr"] == "SQ":
        return next((c.meaning for c in facts.codes.get(row["keyword"], ()) if c.meaning), None)
    return "\\".join(facts.texts.get(row["keyword"], ())) or None


CONVERTERS: Mapping[str, Convert] = MappingProxyType(
    {
        "text": _text,
        "uid": _uid,
        "uid-identifier": _uid_identifier,
        "plain-identifier": _plain_identifier,
        "accession": _accession,
        "sop-class": _sop_class,
        "modality": _modality,
        "number": _number,
        "started": _started,
        "person-name": _person_name,
        "concepts": _concepts,
        "body-site": _body_site,
        "laterality": _laterality,
        "title": _title,
    }
)


def _instance_order(facts: Facts) -> tuple[float, str, str]:
    number = facts.text("InstanceNumber").lstrip("+")
    rank = float(number) if number.lstrip("-").isdigit() else math.inf
    return rank, facts.text("SOPInstanceUID"), facts.text("ContentLabel")


def _series_order(series: Json) -> tuple[float, str]:
    return series.get("number", math.inf), series["uid"]
