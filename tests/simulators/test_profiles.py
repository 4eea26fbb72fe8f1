"""Each vendor's manners show on the wire as its captures have them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from fhir_bridge.simulators import profiles

from .small_case import DOCUMENTS, PDF, Visit
from .test_ehr import ids

QUERY = "DocumentReference?patient=p-1"
ATHENA = f"{QUERY}&ah-practice=Organization/a-1"
Opened = Callable[..., AbstractContextManager[Visit]]


@pytest.fixture
def vendor(open_hospital: Opened) -> Callable[[str], AbstractContextManager[Visit]]:
    return lambda name: open_hospital(only="ehr", profile=name)


def first_attachment(visit: Visit, query: str = QUERY) -> dict[str, Any]:
    resource = visit.get(query).json()["entry"][0]["resource"]
    found: dict[str, Any] = resource["content"][0]["attachment"]
    return found


@pytest.mark.parametrize("profile", profiles.PROFILES, ids=profiles.NAMES)
def test_a_vendor_has_its_own_base_and_shows_every_record_there(
    vendor: Callable[[str], AbstractContextManager[Visit]], profile: profiles.Profile
) -> None:
    with vendor(profile.name) as visit:
        assert visit.urls["fhir"] == visit.base + profile.path
        assert visit.get("metadata").json()["implementation"]["url"] == visit.urls["fhir"]
        bundles = visit.pages(f"{ATHENA if profile.name == 'athena' else QUERY}&_count=5")
        assert len(ids(bundles)) == DOCUMENTS
        gone = visit.get(f"{visit.base}/fhir/Patient/p-1").status_code
        assert gone == (200 if profile.path == "/fhir" else 404)


def test_epic_says_the_real_cause_second_and_a_web_page_for_an_unknown_type(
    vendor: Callable[[str], AbstractContextManager[Visit]],
) -> None:
    with vendor("epic") as visit:
        refused = visit.get("Patient?bogus=1")
        severities = [issue["severity"] for issue in refused.json()["issue"]]
        assert (refused.status_code, severities) == (400, ["information", "fatal"])
        unknown = visit.get("Horoscope?patient=p-1")
        assert (unknown.status_code, unknown.headers["content-type"][:9]) == (404, "text/html")
        assert visit.get(QUERY).json()["total"] == DOCUMENTS
        assert visit.get(f"{QUERY}&_count=5").json()["total"] == 5
        assert visit.get(f"{QUERY}&_count=5&_summary=count").json()["total"] == 5


def test_oracle_has_no_totals_absolute_attachments_and_no_studies(
    vendor: Callable[[str], AbstractContextManager[Visit]],
) -> None:
    with vendor("oracle") as visit:
        page = visit.get(QUERY).json()
        assert "total" not in page
        assert len(page["entry"]) == 10
        assert "-pageContext=" in str(visit.next_of(page))
        url = first_attachment(visit)["url"]
        assert url.startswith(f"{visit.urls['fhir']}/Binary/")
        assert visit.get(url).content == PDF
        assert visit.get("ImagingStudy?patient=p-1").status_code == 404
        (issue,) = visit.get("DocumentReference").json()["issue"]
        assert "diagnostics" not in issue
        assert visit.get(f"{QUERY}&_id=d-1").status_code == 400
        assert "software" not in visit.get("metadata").json()


def test_meditech_has_its_attachments_inline_and_refuses_without_fhir(
    vendor: Callable[[str], AbstractContextManager[Visit]],
) -> None:
    with vendor("meditech") as visit:
        assert base64.b64decode(first_attachment(visit)["data"]) == PDF
        entry = visit.get(QUERY).json()["entry"][0]["resource"]
        assert list(entry)[-1] == "resourceType"
        refused = visit.get("DocumentReference/never-was")
        assert (refused.status_code, refused.json()["detail"]) == (404, "Not Found")
        types = [one["type"] for one in visit.get("metadata").json()["rest"][0]["resource"]]
        assert "Binary" not in types


def test_athena_answers_a_search_without_its_practice_with_200_and_an_error(
    vendor: Callable[[str], AbstractContextManager[Visit]],
) -> None:
    with vendor("athena") as visit:
        answer = visit.get(QUERY)
        (entry,) = answer.json()["entry"]
        assert (answer.status_code, entry["search"]["mode"]) == (200, "outcome")
        assert len(ids([visit.get(ATHENA).json()])) == DOCUMENTS


def test_hapi_has_next_links_of_the_base_itself(
    vendor: Callable[[str], AbstractContextManager[Visit]],
) -> None:
    with vendor("hapi") as visit:
        link = str(visit.next_of(visit.get(QUERY).json()))
        assert link.startswith(f"{visit.urls['fhir']}?_getpages=")
        assert len(visit.get(link).json()["entry"]) == DOCUMENTS - 20
        assert visit.get("Patient/nobody").json()["issue"][0]["diagnostics"].startswith("HAPI-")


def test_an_unknown_vendor_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="oracle"):
        profiles.profile_of("abacus")
