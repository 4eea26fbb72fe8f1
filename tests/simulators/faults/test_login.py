"""Every fault of the login shows on the wire what its line says."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from email.utils import parsedate_to_datetime

import httpx2
import pytest

from fhir_bridge.simulators.faults import login

from ..small_case import ASSERTION_TYPE, CLIENT, Keys, Visit
from .probing import untold


class Door:
    """A registered client before the token endpoint."""

    def __init__(self, visit: Visit, keys: Keys) -> None:
        self.visit, self.keys = visit, keys
        self.url = f"{visit.base}/auth/token"

    def ask(self, scope: str = "system/*.rs", assertion: str = "") -> httpx2.Response:
        form = {
            "grant_type": "client_credentials", "scope": scope,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion or self.keys.assertion(self.url),
        }  # fmt: skip
        return self.visit.http.post(self.url, data=form)

    def uses(self, times: int) -> list[int]:
        bearer = {"authorization": f"Bearer {self.ask().json()['access_token']}"}
        return [self.visit.get("Patient/p-1", headers=bearer).status_code for _ in range(times)]


def only_knows(good: str, bad: str) -> Callable[[Door], bool]:
    def probe(door: Door) -> bool:
        refused = door.ask(bad)
        told = (refused.status_code, refused.json()["error"])
        return told == (400, "invalid_scope") and door.ask(good).status_code == 200

    return probe


def clock_is_ahead(door: Door) -> bool:
    refused = door.ask()
    theirs = parsedate_to_datetime(refused.headers["date"]).timestamp()
    late = int(theirs) + 240
    accepted = door.ask(assertion=door.keys.assertion(door.url, exp=late))
    ahead = theirs - time.time()
    return (refused.status_code, accepted.status_code) == (401, 200) and 590 < ahead < 610


def the_same_is_refused(door: Door) -> bool:
    assertion = door.keys.assertion(door.url)
    statuses = [door.ask(assertion=assertion).status_code for _ in range(2)]
    return [*statuses, door.ask().status_code] == [503, 401, 200]


PROBES: dict[str, Callable[[Door], bool]] = {
    "token-expires": lambda door: door.uses(11) == [200] * 10 + [401],
    "token-dies-at-once": lambda door: door.uses(3) == [200, 200, 401],
    "clock-ahead": clock_is_ahead,
    "scope-v1-refused": only_knows("system/*.rs", "system/*.read"),
    "scope-v2-refused": only_knows("system/Patient.read", "system/Patient.rs system/Binary.r"),
    "assertion-burnt": the_same_is_refused,
    "token-429-once": lambda door: [door.ask().status_code for _ in range(2)] == [429, 200],
    "token-html": lambda door: door.ask().content.startswith(b"<html>"),
    "token-refused": lambda door: door.ask().json()["error"] == "invalid_client",
    "token-without-expiry": lambda door: "expires_in" not in door.ask().json(),
}


@pytest.mark.parametrize("name", PROBES)
def test_a_fault_shows_what_it_says(
    open_hospital: Callable[..., AbstractContextManager[Visit]], keys: Keys, name: str
) -> None:
    known = {"client_id": CLIENT, "jwks_url": keys.url, "open_door": False}
    with open_hospital(name, only="ehr", **known) as visit:
        assert PROBES[name](Door(visit, keys))


def test_every_fault_of_the_login_is_looked_at() -> None:
    assert untold(login.ROWS, PROBES) == set()
