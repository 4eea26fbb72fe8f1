"""Origins and containment: what no login may reach."""

from __future__ import annotations

import pytest

from fhir_bridge.clients.origins import Origin, contained, is_public, origin_of
from fhir_bridge.errors import ForeignAddress

BASE = "https://p.example/fhir"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://p.example", Origin("https", "p.example", 443)),
        ("HTTPS://P.Example:443/x", Origin("https", "p.example", 443)),
        ("http://p.example:8080/", Origin("http", "p.example", 8080)),
        ("https://p.example./x", Origin("https", "p.example", 443)),
        ("https://bücher.example/", Origin("https", "xn--bcher-kva.example", 443)),
        ("http://[::1]:81/", Origin("http", "::1", 81)),
    ],
)
def test_an_origin_is_written_in_one_way(url, origin):
    assert origin_of(url) == origin
    assert origin_of(f"{origin}/") == origin


@pytest.mark.parametrize(
    "url",
    [
        "", "p.example", "//p.example", "file:///etc/passwd", "data:,x", "ftp://p.example",
        "localfile:/x", "javascript:alert(1)", "https://", "https:///x", "https://u@p.example",
        "https://p.example@evil.example", "https://p.example:99999", "https://p.example:x",
        "https://p.exa mple", "https://p.example\\@evil", "https://p.example\n.evil", "https://[::1",
        "https://a..b\u2024c/", "https://-p.example", "https://p.example%2eevil/",
    ],
)  # fmt: skip
def test_what_is_no_plain_web_address_is_refused(url):
    with pytest.raises(ForeignAddress):
        origin_of(url)


@pytest.mark.parametrize(
    "link",
    [
        "https://p.example.evil/fhir/x", "https://evil.example/fhir/x", "http://p.example/fhir/x",
        "https://p.example:444/fhir/x", "//evil.example/fhir", "https://p.example@evil/fhir",
        "\\\\evil\\fhir", "https://evil/fhirevil/x", "https://10.0.0.7/other", "http://[bad",
        "http://\u2100.example/",
    ],
)  # fmt: skip
def test_a_link_elsewhere_is_not_contained(link):
    with pytest.raises(ForeignAddress):
        contained(link, BASE)


@pytest.mark.parametrize(
    ("link", "absolute"),
    [
        ("Patient/1", f"{BASE}/Patient/1"),
        ("?page=2", f"{BASE}/?page=2"),
        ("/elsewhere", "https://p.example/elsewhere"),
        ("https://p.example:443/fhir?x", "https://p.example:443/fhir?x"),
        ("http://10.0.0.7:8080/fhir/Patient?x=1", f"{BASE}/Patient?x=1"),
        ("http://localhost/fhir", BASE),
    ],
)
def test_a_link_of_the_endpoint_becomes_absolute_on_its_own_origin(link, absolute):
    assert contained(link, BASE) == absolute


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1",
        "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "2002:a00:1::", "no address",
    ],
)  # fmt: skip
def test_private_addresses_in_every_form_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "::ffff:93.184.216.34"])
def test_addresses_of_the_open_internet_are_public(address):
    assert is_public(address)
