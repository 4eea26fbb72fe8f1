"""How a hospital is reached: one client per way, made from its settings, and never another's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fhir_bridge.case.case import Auth, DimseNode, TreatingProvider
from fhir_bridge.clients.ask import Limits
from fhir_bridge.errors import ConfigurationError
from fhir_bridge.security.secrets import KEY_BYTES, Seal
from fhir_bridge.steps.hospitals import ByGet, ByMove, ByWado, Hospitals, secret_purpose
from fhir_bridge.store.shelves import Store

SEAL = Seal(b"k" * KEY_BYTES)
ANNE = TreatingProvider(
    "st-anne",
    "St. Anne",
    fhir="http://127.0.0.1:9/r4",
    dimse=DimseNode("STANNE", "127.0.0.1", 11113),
    dicomweb="http://127.0.0.1:9/dicom",
)


@pytest.fixture
def store(tmp_path):
    made = Store.open(f"sqlite:///{tmp_path / 'b.sqlite'}", tmp_path, lease=timedelta(seconds=15))
    yield made
    made.close()


@pytest.fixture
def reach(store, fake):
    """Hospitals over the store, with our receiver listening or not."""
    opened = []

    def made(*, receiving: int = 0) -> Hospitals:
        hospitals = Hospitals(
            keep=store.originals,
            seal=SEAL,
            signer=None,
            now=lambda: fake.NOW,
            new_id=lambda: "id",
            limits=Limits(),
            aet="FHIRBRIDGE",
            receiving=lambda: receiving,
        )
        opened.append(hospitals)
        return hospitals

    yield made
    for hospitals in opened:
        hospitals.close()


def _ways(hospitals, provider):
    return [type(way) for way in hospitals.archives(provider, "c1", frozenset)]


def test_the_ways_to_images_come_best_first(reach):
    assert _ways(reach(receiving=11112), ANNE) == [ByWado, ByGet, ByMove]


def test_nothing_is_moved_to_us_while_we_do_not_listen(reach):
    assert _ways(reach(), ANNE) == [ByWado, ByGet]


def test_a_hospital_offers_only_what_is_set_up(reach):
    hospitals = reach(receiving=11112)
    assert _ways(hospitals, replace(ANNE, dicomweb="", dimse=None)) == []
    assert hospitals.ehr(replace(ANNE, fhir="")) is None


def test_cases_share_the_connection_of_a_hospital_and_keep_their_answers_apart(reach):
    hospitals = reach()
    one, two = hospitals.ehr(ANNE, "c1"), hospitals.ehr(ANNE, "c2")
    assert one.base == two.base == "http://127.0.0.1:9/r4"
    assert len(hospitals._open) == 1


def test_a_hospital_that_was_changed_gets_a_new_connection(reach):
    hospitals = reach()
    hospitals.ehr(ANNE)
    before = hospitals._open["st-anne"][1]
    hospitals.ehr(replace(ANNE, client_id="other"))
    assert hospitals._open["st-anne"][1] is not before


def test_the_secret_of_another_hospital_opens_nothing(reach):
    """Somebody copied a row: the secret of General does not log in at St. Anne."""
    stolen = SEAL.seal(b"secret", secret_purpose("general"))
    with pytest.raises(ConfigurationError):
        reach().ehr(replace(ANNE, auth=Auth.BASIC, client_id="bridge", secret=stolen))
    own = SEAL.seal(b"secret", secret_purpose("st-anne"))
    assert reach().ehr(replace(ANNE, auth=Auth.BASIC, client_id="bridge", secret=own))


@pytest.mark.parametrize("auth", [Auth.BASIC, Auth.CLIENT_SECRET])
def test_a_login_without_its_secret_is_a_matter_of_configuration(reach, auth):
    with pytest.raises(ConfigurationError, match="no secret"):
        reach().ehr(replace(ANNE, auth=auth, client_id="bridge"))


def test_both_ways_of_dimse_are_one_witness(reach):
    ways = reach(receiving=11112).archives(ANNE, "c1", frozenset)
    assert [way.witness for way in ways] == ["QIDO instances", "C-FIND IMAGE", "C-FIND IMAGE"]
