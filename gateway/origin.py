"""Which web pages may open a WebSocket here.

A browser lets any page connect to any server and says in `Origin` (RFC 6454) which page it was; the check is the
server's. Programs send none.
"""

import re
from collections.abc import Collection, Iterable
from ipaddress import IPv6Address
from typing import NamedTuple

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._~%!$&'()*+;=-]+)(?::(?P<port>\d{1,5}))?"
_ORIGIN = re.compile(rf"(?P<scheme>[a-z][a-z0-9+.-]*)://{_HOST}")
_AUTHORITY = re.compile(_HOST)


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int | None


def allowed(headers: Iterable[tuple[bytes, bytes]], extra_origins: Collection[str]) -> bool:
    """Whether a request with these headers (lower-case names, as in an ASGI scope) may open a WebSocket.

    Yes without an Origin, from the page's own server (its host and port are those of the Host header, a port that is
    left out being the scheme's own) and from the listed origins ("https://chat.example"). Anything else is foreign:
    `null`, a malformed Origin, several of them.
    """
    pairs = list(headers)
    origins = [value for name, value in pairs if name == b"origin"]
    if not origins:
        return True
    origin = _parse_origin(origins[0].decode("latin-1")) if len(origins) == 1 else None
    if origin is None:
        return False
    hosts = [value for name, value in pairs if name == b"host"]
    return _is_own(origin, hosts) or origin in map(_parse_origin, extra_origins)


def host_of(authority: str) -> str | None:
    """The host of a Host header, in its normal form; None where that is malformed."""
    match = _AUTHORITY.fullmatch(authority.lower())
    return None if match is None else _normal_host(match["host"])


def host_in(origin: str) -> str | None:
    """The host of an origin."""
    found = _parse_origin(origin)
    return None if found is None else found.host


def _is_own(origin: _Origin, hosts: list[bytes]) -> bool:
    if len(hosts) != 1 or origin.scheme not in _DEFAULT_PORTS:
        return False
    match = _AUTHORITY.fullmatch(hosts[0].decode("latin-1").lower())
    return match is not None and _endpoint(match, origin.scheme) == origin


def _parse_origin(text: str) -> _Origin | None:
    match = _ORIGIN.fullmatch(text.lower())
    return None if match is None else _endpoint(match, match["scheme"])


def _endpoint(match: re.Match[str], scheme: str) -> _Origin | None:
    host = _normal_host(match["host"])
    port = int(match["port"]) if match["port"] else _DEFAULT_PORTS.get(scheme)
    if host is None or (port is not None and port > 65_535):
        return None
    return _Origin(scheme, host, port)


def _normal_host(host: str) -> str | None:
    """IPv6 has several spellings of one address; names and IPv4 addresses have one."""
    if not host.startswith("["):
        return host
    try:
        return f"[{IPv6Address(host[1:-1]).compressed}]"
    except ValueError:
        return None
