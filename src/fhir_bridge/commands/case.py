"""fhir-bridge case: open a case, read what came, confirm, release."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fhir_bridge.commands.opening import opened
from fhir_bridge.commands.output import AsJson, print_json, say, table

if TYPE_CHECKING:
    from fhir_bridge.bridge import Bridge
    from fhir_bridge.case.case import Case

app = typer.Typer(
    help="Cases: new, list, show, ledger, certificate, record, confirm, release.",
    epilog="Example: fhir-bridge case list",
    no_args_is_help=True,
    rich_markup_mode=None,
)
CaseId = Annotated[str, typer.Argument(help="The case's id.", metavar="CASE")]


@app.command(
    epilog="Example: fhir-bridge case new --patient patient.json --specialty oncology "
    "--question 'Is surgery possible?' --provider general-hospital"
)
def new(
    patient: Annotated[
        Path, typer.Option(help="FHIR R4 Patient as JSON.", exists=True, dir_okay=False)
    ],
    specialty: Annotated[str, typer.Option(help="neurology, neurosurgery, cardiology, ...")],
    question: Annotated[str, typer.Option(help="What the specialist is asked, one sentence.")],
    provider: Annotated[list[str], typer.Option(help="A treating provider; repeat for more.")],
    draft: Annotated[
        Path | None,
        typer.Option(help="Prepared opinion text (Markdown).", exists=True, dir_okay=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Open a case."""
    from fhir_bridge.case.case import SPECIALTIES
    from fhir_bridge.case.ids import slug
    from fhir_bridge.errors import UsageError
    from fhir_bridge.security.access import LOCAL

    if specialty not in SPECIALTIES:
        raise UsageError(f"--specialty is one of {', '.join(SPECIALTIES)}")
    resource, text = _read_patient(patient), _read_draft(draft)
    with opened() as bridge:
        names = list(dict.fromkeys(slug(name) for name in provider))
        id_ = bridge.new_case(LOCAL, resource, specialty, question, names)
        if text:
            bridge.desk.prepare(id_, text)
    if as_json:
        print_json({"case": id_})
    else:
        say(f"Case {id_} is open. Next: fhir-bridge pull {id_}")


def _read_patient(file: Path) -> dict[str, Any]:
    from fhir_bridge.errors import RecordError, UsageError
    from fhir_bridge.standards.fhir import json

    try:
        resource = json.load_object(file.read_bytes())
    except RecordError as error:
        raise UsageError(f"--patient: {error.detail}") from None
    if resource.get("resourceType") != "Patient":
        raise UsageError("--patient is no FHIR Patient")
    return resource


def _read_draft(file: Path | None) -> str:
    from fhir_bridge.errors import UsageError

    try:
        return file.read_text(encoding="utf-8") if file else ""
    except UnicodeDecodeError:
        raise UsageError("--draft is no text in UTF-8") from None


@app.command("list", epilog="Example: fhir-bridge case list")
def list_(as_json: AsJson = False) -> None:
    """Every case, newest first."""
    with opened() as bridge:
        rows = [
            {
                "case": c.id,
                "state": c.state.value,
                "specialty": c.specialty,
                "opened": c.opened_at.isoformat(timespec="minutes"),
                "providers": ", ".join(c.providers),
            }
            for c in bridge.store.cases.all()
        ]
    if as_json:
        print_json(rows)
    elif rows:
        table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        say("No case yet. Open one: fhir-bridge case new --help")


@app.command(epilog="Example: fhir-bridge case show 6f2b7f0e")
def show(case: CaseId, as_json: AsJson = False) -> None:
    """One case: state, sources, who the patient is at each."""
    with opened() as bridge:
        found = _open(bridge, case)
        steps = bridge.store.cases.steps(case)
        sources = [
            {
                "provider": pin.source,
                "patient": pin.state.value,
                "patient_id": pin.patient_id,
                "reason": pin.reason,
                "candidates": [c.id for c in pin.candidates],
                "step": steps[pin.source][0],
                "error": steps[pin.source][1],
            }
            for pin in bridge.store.cases.pins(case)
        ]
    facts = {
        "case": found.id,
        "state": found.state.value,
        "specialty": found.specialty,
        "question": found.question,
        "record_version": found.record_version,
        "sources": sources,
    }
    if as_json:
        print_json(facts)
        return
    for name in ("case", "state", "specialty", "question", "record_version"):
        say(f"{name.replace('_', ' '):<16}{facts[name]}")
    say()
    table(
        ("provider", "step", "error", "patient", "patient id", "candidates"),
        [
            (s["provider"], s["step"] or "waiting", s["error"] or "-", s["patient"],
             s["patient_id"] or "-", " ".join(s["candidates"]) or "-")
            for s in sources
        ],
    )  # fmt: skip


@app.command(epilog="Example: fhir-bridge case ledger 6f2b7f0e --json")
def ledger(case: CaseId, as_json: AsJson = False) -> None:
    """One row for every record seen, with its final state."""
    from fhir_bridge.case.ledger import count_states

    with opened() as bridge:
        _open(bridge, case)
        rows = bridge.store.ledgers.rows(case)
    if as_json:
        states = {state.value: n for state, n in count_states(rows).items()}
        records = [
            {
                "source": row.key.source,
                "kind": row.key.kind,
                "id": row.key.id,
                "version": row.key.version,
                "state": row.state.value,
                "rule": row.rule,
                "reason": row.reason,
                "target": row.target,
                "error": row.error_code,
                "sightings": row.sightings,
            }
            for row in rows
        ]
        print_json({"seen": len(rows), "states": states, "records": records})
        return
    if not rows:
        say(f"Nothing was seen yet: fhir-bridge pull {case}")
        return
    table(
        ("source", "kind", "id", "state", "rule", "reason"),
        [(r.key.source, r.key.kind, r.key.id[-48:], r.state.value, r.rule, r.reason) for r in rows],
    )


@app.command(epilog="Example: fhir-bridge case certificate 6f2b7f0e")
def certificate(case: CaseId, as_json: AsJson = False) -> None:
    """Per source and type: what they said, what came, the grade."""
    with opened() as bridge:
        _open(bridge, case)
        rows = bridge.certificate(case)
    if as_json:
        print_json(rows)
    elif rows:
        table(
            ("source", "type", "said", "got", "grade", "reason"),
            [
                (r["source"], r["type"], "-" if r["said"] is None else r["said"], r["got"],
                 r["grade"], r["reason"])
                for r in rows
            ],
        )  # fmt: skip
    else:
        say(f"Nothing was asked yet: fhir-bridge pull {case}")


@app.command(epilog="Example: fhir-bridge case record 6f2b7f0e --out record.json")
def record(
    case: CaseId,
    out: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """The case record, a FHIR document Bundle, byte for byte."""
    with opened() as bridge:
        _open(bridge, case)
        stored = bridge.store.records.get(case)
        document = bridge.store.records.document(stored)
    if out is not None:
        _write(out, document)
        facts = {"file": str(out), "sha256": stored.sha256, "entries": stored.entries}
        if as_json:
            print_json(facts)
        else:
            say(f"{stored.entries} entries, SHA-256 {stored.sha256}, in {out}")
        return
    sys.stdout.buffer.write(document)
    sys.stdout.buffer.flush()


def _write(file: Path, document: bytes) -> None:
    from fhir_bridge.errors import UsageError

    try:
        file.write_bytes(document)
    except OSError as error:
        raise UsageError(f"--out cannot be written ({type(error).__name__})") from None


@app.command(
    epilog="Example: fhir-bridge case confirm 6f2b7f0e --provider general-hospital --patient-id p1"
)
def confirm(
    case: CaseId,
    provider: Annotated[str, typer.Option(help="The treating provider.")],
    patient_id: Annotated[
        str, typer.Option(help="The patient's id there; empty means none of the candidates.")
    ],
    as_json: AsJson = False,
) -> None:
    """A person says: this is our patient at that hospital."""
    from fhir_bridge.case.ids import slug
    from fhir_bridge.security.access import LOCAL

    with opened() as bridge:
        bridge.confirm_patient(LOCAL, case, slug(provider), patient_id)
    if as_json:
        print_json({"case": case, "provider": slug(provider), "patient_id": patient_id})
    else:
        say(f"Noted. Next: fhir-bridge pull {case} --provider {slug(provider)}")


@app.command(epilog="Example: fhir-bridge case release 6f2b7f0e --reason 'Fax is on its way'")
def release(
    case: CaseId,
    reason: Annotated[
        str, typer.Option(help="Why, if not everything is here; it stands in the record.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Let the specialist open the case record."""
    from fhir_bridge.security.access import LOCAL

    with opened() as bridge:
        bridge.release(LOCAL, case, reason)
        stored = bridge.store.records.get(case)
    if as_json:
        print_json({"case": case, "version": stored.version, "sha256": stored.sha256})
    else:
        say(f"Version {stored.version} is released to the specialist.")


def _open(bridge: Bridge, case: str) -> Case:
    from fhir_bridge.security.access import LOCAL, Purpose

    return bridge.access.open_case(LOCAL, case, Purpose.REVIEW)
