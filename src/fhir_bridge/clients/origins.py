"""Where a URL leads: exact origins, and whether a link from outside stays within an endpoint."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urljoin, urlsplit

from fhir_bridge.errors import ForeignAddress

DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?\.?")
_NOT_IN_URLS = re.compile(r"[\x00-\x20\\\x7f]")
_TRANSLATED = IPv6Network("64:ff9b::/96")
_INSIDE_SUFFIXES = (".local", ".internal", ".lan", ".intranet", ".cluster.local", ".svc")


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port (RFC 6454), lower case, default port filled in."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host
        usual = DEFAULT_PORTS[self.scheme] == self.port
        return f"{self.scheme}://{shown}" + ("" if usual else f":{self.port}")


def origin_of(url: str) -> Origin:
    """
    The origin of an absolute http(s) URL; raises ForeignAddress for anything else.

    User names, backslashes, control characters and odd host names are refused, because parsers
    disagree about them and a token may not depend on that.

    >>> origin_of("HTTPS://EHR.example:443/fhir")
    Origin(scheme='https', host='ehr.example', port=443)
    """
    parts = _split(url)
    if parts.scheme not in DEFAULT_PORTS:
        raise ForeignAddress("only http and https addresses are followed")
    if "@" in parts.netloc or not parts.hostname:
        raise ForeignAddress("an address names a user, or no host")
    return Origin(parts.scheme, _host(parts.hostname), _port(parts))


def _split(url: str) -> SplitResult:
    if _NOT_IN_URLS.search(url):
        raise ForeignAddress("an address holds characters that no URL has")
    try:
        return urlsplit(url)
    except ValueError:
        raise ForeignAddress("an address cannot be read") from None


def _port(parts: SplitResult) -> int:
    try:
        return parts.port if parts.port is not None else DEFAULT_PORTS[parts.scheme]
    except ValueError:
        raise ForeignAddress("an address has an impossible port") from None


def _host(name: str) -> str:
    if ":" in name:
        return str(_address(name) or "")
    try:
        plain = name.encode("idna").decode().lower()
    except UnicodeError:
        raise ForeignAddress("an address has an impossible host") from None
    if not _HOST.fullmatch(plain):
        raise ForeignAddress("an address has an impossible host")
    return plain.removesuffix(".")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def is_public(address: str) -> bool:
    """
    Whether an IP address is one of the open internet.

    Private, loopback and link-local are not, nor the IPv6 forms that carry such an IPv4 address.

    >>> [is_public(a) for a in ("93.184.216.34", "169.254.169.254", "::ffff:127.0.0.1")]
    [True, False, False]
    """
    ip = _address(address)
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped:
            return is_public(str(ip.ipv4_mapped))
        if ip.sixtofour or ip.teredo or ip in _TRANSLATED:
            return False
    return ip is not None and ip.is_global and not ip.is_multicast


def joined(base: str, url: str) -> str:
    """A link found under `base`, absolute; raises ForeignAddress for one that cannot be read."""
    try:
        return urljoin(base, url)
    except ValueError:
        raise ForeignAddress("an address cannot be read") from None


def contained(url: str, base: str) -> str:
    """
    A link found in an endpoint's answer, as an absolute URL on that endpoint's origin.

    Relative links are resolved against the base. A link to a host behind the endpoint's gateway
    is rebased when its path continues the base's path (seen in the field:
    http://hapi-fhir-server:8080). Raises ForeignAddress for every other origin.
    """
    absolute = joined(f"{base}/", url)
    if origin_of(absolute) == origin_of(base):
        return absolute
    if _is_behind(origin_of(absolute).host, origin_of(base).host):
        rest = _continues(urlsplit(absolute), urlsplit(base).path)
        if rest is not None:
            return base + rest
    raise ForeignAddress("a link leads to another origin")


def _is_behind(host: str, base: str) -> bool:
    # Two numeric addresses of the same kind are two machines, or two programs on one: not a
    # gateway and what stands behind it.
    ip = _address(host)
    if ip is None:
        return host != base and ("." not in host or host.endswith(_INSIDE_SUFFIXES))
    return not is_public(host) and _address(base) is None


def _continues(link: SplitResult, path: str) -> str | None:
    rest = link.path.removeprefix(path)
    if not link.path.startswith(path) or (rest and not rest.startswith("/")):
        return None
    return rest + (f"?{link.query}" if link.query else "")
