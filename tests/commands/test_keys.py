"""Our signing keys as an operator rotates them."""

from __future__ import annotations

from ..doors import Desk


def test_a_rotation_announces_new_keys_and_goes_on_signing_with_the_old_ones(desk: Desk) -> None:
    before = {row["kid"] for row in desk.type("keys", "list", "--json").json}
    assert "sign from" in desk.type("keys", "rotate").out
    rows = desk.type("keys", "list", "--json").json
    assert sorted(row["stage"] for row in rows) == ["announced"] * 2 + ["signing"] * 2
    assert {row["kid"] for row in rows if row["stage"] == "signing"} == before
    assert "announced" in desk.type("keys", "list").out


def test_one_rotation_at_a_time(desk: Desk) -> None:
    desk.type("keys", "rotate", "--json")
    assert "under way" in desk.type("keys", "rotate", code=2).err


def test_keys_that_leaked_are_gone_at_once_even_during_a_rotation(desk: Desk) -> None:
    desk.type("keys", "rotate")
    before = {row["kid"] for row in desk.type("keys", "list", "--json").json}
    desk.type("keys", "rotate", "--leaked")
    after = desk.type("keys", "list", "--json").json
    assert [row["stage"] for row in after] == ["signing"] * 2
    assert not before & {row["kid"] for row in after}


def test_a_rotation_that_hospitals_could_not_follow_is_refused(desk: Desk) -> None:
    desk.type("keys", "rotate", "--announce-hours", "0.1", code=2)
