"""The tables of dicom/ agree with the dictionaries, and the service really reads them."""

from __future__ import annotations

import csv
import tomllib
from pathlib import Path

import pytest
from fhir.resources.R4B.imagingstudy import ImagingStudy
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.uid import UID_dictionary

from fhir_bridge import tables
from fhir_bridge.errors import ConfigurationError
from fhir_bridge.servers.dimse.negotiation import Offer, choose
from fhir_bridge.simulators.studies import make_studies
from fhir_bridge.standards.dicom import conformance, words
from fhir_bridge.standards.dicom.header import read_facts
from fhir_bridge.standards.dicom.imaging_study import CONVERTERS

KEYS = {
    "sop-classes.csv": ("uid",),
    "transfer-syntaxes.csv": ("uid",),
    "query-keys.csv": ("level", "tag"),
    "status-codes.csv": ("service", "hex"),
    "imaging-study.csv": ("level", "tag"),
    "laterality.csv": ("code",),
    "coercions.csv": ("tag",),
}
LEVELS = ("study", "series", "image", "instance")
IMPLICIT, JPEG_LS = "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.80"


def rows(name):
    return tables.rows("dicom", name)


def order(name, row):
    def part(column):
        value = row[column]
        if column == "uid":
            return tuple(int(number) for number in value.split("."))
        return LEVELS.index(value) if column == "level" else value

    return tuple(part(column) for column in KEYS[name])


@pytest.mark.parametrize("name", KEYS)
def test_rows_are_sorted_and_no_key_comes_twice(name):
    keys = [order(name, row) for row in rows(name)]
    assert keys == sorted(set(keys))


@pytest.mark.parametrize("name", KEYS)
def test_every_row_has_every_column_and_no_stray_blanks(name):
    with tables.folder("dicom", name).open(encoding="utf-8", newline="") as lines:
        body = list(csv.reader(lines))
    assert {len(line) for line in body} == {len(body[0])}
    assert all(cell == cell.strip() for line in body for cell in line)


def test_every_csv_of_the_folder_is_checked_here():
    assert {path.name for path in tables.folder("dicom").glob("*.csv")} == set(KEYS)


@pytest.mark.parametrize("name", ["sop-classes.csv", "transfer-syntaxes.csv"])
def test_names_are_those_of_the_standard(name):
    for row in rows(name):
        assert row["name"] == UID_dictionary[row["uid"]][0]


@pytest.mark.parametrize("name", ["query-keys.csv", "imaging-study.csv", "coercions.csv"])
def test_tags_keywords_and_vrs_are_those_of_the_standard(name):
    for row in rows(name):
        tag = int(row["tag"], 16)
        assert (row["keyword"], row["vr"]) == (keyword_for_tag(tag), dictionary_VR(tag))


def test_the_sop_classes_we_ask_for_fit_into_one_association():
    assert sum(row["scu_get"] == "yes" for row in rows("sop-classes.csv")) <= 128


def test_yes_and_no_are_the_only_answers():
    for row in rows("sop-classes.csv"):
        assert {row["scp"], row["scu_get"]} <= {"yes", "no"}
        assert (row["becomes"] == "refused") == (row["scp"] == "no")
    for row in rows("transfer-syntaxes.csv"):
        assert row["accept"] in ("yes", "no")
        assert row["kept_as_sent"] == ("yes" if row["accept"] == "yes" else "")


def test_the_ranks_of_transfer_syntaxes_run_without_a_gap():
    ranks = sorted(int(row["prefer"]) for row in rows("transfer-syntaxes.csv") if row["prefer"])
    assert ranks == list(range(1, len(ranks) + 1))
    assert set(words.preferred_syntaxes()) <= words.accepted_syntaxes()


def test_verification_is_accepted():
    """PS3.2 asks it of every acceptor."""
    assert choose(Offer(1, words.VERIFICATION, (IMPLICIT,))) == IMPLICIT


@pytest.mark.parametrize("row", rows("sop-classes.csv"), ids=lambda row: row["uid"])
def test_the_receiver_does_what_the_row_of_the_class_says(row):
    chosen = choose(Offer(1, row["uid"], (IMPLICIT,)))
    assert (chosen == IMPLICIT) == (row["scp"] == "yes")


@pytest.mark.parametrize("row", rows("transfer-syntaxes.csv"), ids=lambda row: row["uid"])
def test_the_receiver_does_what_the_row_of_the_syntax_says(row):
    chosen = choose(Offer(1, "1.2.840.10008.5.1.4.1.1.2", (row["uid"],)))
    assert (chosen == row["uid"]) == (row["accept"] == "yes")


def test_deflated_is_not_negotiated():
    assert choose(Offer(1, "1.2.840.10008.5.1.4.1.1.2", ("1.2.840.10008.1.2.1.99",))) is None


@pytest.mark.parametrize(
    ("uid", "taken"),
    [
        ("1.2.840.113619.4.30", True),
        ("1.2.840.10008.5.1.4.1.1.9999", True),
        ("1.2.840.10008.5.1.4.1.2.2.1", False),
        ("1.2.840.10008.1.20.1", False),
        ("not a uid", False),
        ("", False),
    ],
)
def test_private_and_new_storage_classes_are_evidence_and_nothing_else_is(uid, taken):
    assert words.is_stored(uid) is taken


def resolves(path: str) -> bool:
    model = ImagingStudy
    for name in path.split("."):
        if model is None:
            return False
        field = model.model_fields.get(name)
        if field is None:
            return False
        model = _model(field.annotation)
    return True


def _model(annotation):
    found = getattr(annotation, "__args__", (annotation,))
    for one in found:
        inner = _model(one) if getattr(one, "__args__", None) else one
        target = getattr(inner, "get_model_klass", None)
        if target is not None:
            return target()
        if hasattr(inner, "model_fields"):
            return inner
    return None


@pytest.mark.parametrize("row", rows("imaging-study.csv"), ids=lambda row: row["keyword"])
def test_every_element_path_exists_in_r4(row):
    assert resolves(row["fhir_path"])


def test_a_path_that_does_not_exist_is_noticed():
    assert not resolves("series.instance.colour")
    assert resolves("series.instance.sopClass")


def test_every_conversion_has_its_function_and_every_function_its_row():
    kinds = {row["as"].partition(":")[0] for row in rows("imaging-study.csv")}
    assert kinds - {"with"} == set(CONVERTERS)
    keywords = {row["keyword"] for row in rows("imaging-study.csv")}
    used = {r["as"][5:] for r in rows("imaging-study.csv") if r["as"].startswith("with:")}
    assert used <= keywords


def test_every_status_that_we_answer_is_in_the_table():
    for service in ("C-STORE", "STOW-RS"):
        for code in (0x0000, 0x0122, 0x0124, 0xA700, 0xA900, 0xC000):
            assert words.status(service, code).meaning
    with pytest.raises(ConfigurationError):
        words.status("C-STORE", 0x1234)


def test_the_nurse_reads_whole_sentences():
    for row in rows("status-codes.csv"):
        assert row["nurse_sees"] == "" or row["nurse_sees"].endswith(".")
        assert (row["nurse_sees"] == "") == row["hex"].startswith("FF")


def test_nothing_in_a_received_object_is_changed():
    assert rows("coercions.csv") == ()


def test_the_conformance_statement_is_fresh():
    path = tables.folder("dicom", "conformance-statement.md")
    statement = path.read_text(encoding="utf-8")
    assert conformance.refreshed(statement) == statement
    assert all(f"<!-- table: {name} -->" in statement for name in conformance.TABLES)


def test_the_example_of_a_node_is_valid():
    text = tables.folder("dicom", "nodes.example.toml").read_text(encoding="utf-8")
    sheet = tomllib.loads(text)
    assert all(0 < len(sheet[side]["ae_title"]) <= 16 for side in ("us", "them"))
    command = sheet["add"]["command"]
    assert all(str(sheet["them"][key]) in command for key in ("ae_title", "dicomweb", "issuer"))


def test_rows_of_imaging_study_that_no_fixture_exercises_are_listed(tmp_path):
    """The fixtures must at least exercise every identity; the other rows are named."""
    spec = Path(__file__).parents[2] / "fixtures/cases/oncology/studies.json"
    seen = set()
    for path in make_studies(spec, tmp_path):
        with path.open("rb") as file:
            facts = read_facts(file)
        seen |= {word for word, values in facts.texts.items() if values}
        seen |= {word for word, codes in facts.codes.items() if codes}
    idle = [r for r in rows("imaging-study.csv") if r["keyword"] not in seen]
    print("imaging-study.csv rows without a fixture:", [r["keyword"] for r in idle])
    assert not [r for r in idle if r["if_absent"] == "reject"]
