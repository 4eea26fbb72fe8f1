"""The error tree: drawn as it is, codes that never clash, advice that a nurse can read."""

from __future__ import annotations

import re

import pytest

from fhir_bridge import errors
from fhir_bridge.errors import BridgeError

EXIT_CODES = {1, 2, 3, 4, 5, 6, 7}
# Words of engineers: a nurse never has to know them (the design of the desk: no status codes, no
# resource names).
JARGON = re.compile(
    r"\b(HTTP|HTTPS|FHIR|DICOM|JSON|XML|URL|TLS|AE|SCP|SCU|UID|PDU|TCP|API|token|endpoint|bundle|"
    r"resource|server|association|retry|timeout|status|exception|null|payload|parse|hash|"
    r"[A-Z][a-z]+[A-Z]\w+|[1-5]\d\d)\b"
)


def _tree(kind: type[BridgeError]) -> list[type[BridgeError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _tree(child))]


TREE = [kind for kind in _tree(BridgeError) if kind.__module__ == errors.__name__]
DRAWN = re.findall(
    r"^([│ ]*)(?:├──|└──) (\w+) +(FB-\d{4})(.*)$", errors.__doc__ or "", re.MULTILINE
)


def test_the_drawing_shows_every_error_and_no_other():
    assert {name for _, name, _, _ in DRAWN} == {k.__name__ for k in TREE} - {"BridgeError"}
    assert len(DRAWN) == len(TREE) - 1


def test_the_drawing_hangs_each_error_where_it_belongs():
    trunk: list[str] = ["BridgeError"]
    for indent, name, code, _ in DRAWN:
        depth = len(indent) // 4 + 1
        trunk = [*trunk[:depth], name]
        kind = getattr(errors, name)
        assert kind.__base__.__name__ == trunk[depth - 1], name
        assert kind.code == code, name


def test_the_drawing_says_retry_where_the_type_says_so():
    for _, name, _, words in DRAWN:
        repeated = getattr(errors, name).default_retry_seconds is not None
        assert ("retry" in words) is repeated, name


def test_no_two_errors_share_a_code():
    codes = [kind.code for kind in TREE]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"FB-\d{4}", code) for code in codes)


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_tells_the_nurse_what_it_means(kind):
    assert "advice" in vars(kind)
    assert kind.advice.endswith("."), "a sentence ends"
    assert kind.advice[0].isupper()
    assert len(kind.advice) <= 110
    assert not JARGON.search(kind.advice), JARGON.search(kind.advice)
    assert kind.__doc__
    assert kind.exit_code in EXIT_CODES


def test_no_two_errors_give_the_same_advice():
    advice = [kind.advice for kind in TREE]
    assert len(set(advice)) == len(advice)


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_the_type_says_whether_to_try_again(kind):
    default = kind.default_retry_seconds
    assert default is None or (isinstance(default, float) and default > 0)
    assert kind().retry_after_seconds == default
    assert kind("d", retry_after_seconds=7.5).retry_after_seconds == 7.5
    assert kind("d", retry_after_seconds=0).retry_after_seconds == 0


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_an_error_is_built_without_anything_and_names_its_code(kind):
    """The job engine builds it again from its type alone, over a replay."""
    assert str(kind()) == f"{kind.code} {kind.advice}"
    assert str(kind("row 7")) == f"{kind.code} row 7"
    assert (kind("row 7").detail, kind().detail) == ("row 7", "")
