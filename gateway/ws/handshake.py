"""The opening handshake (RFC 6455, section 4.2), between bytes and values. Pure."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple

Headers = list[tuple[bytes, bytes]]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
_VERSION = b"13"
_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_ORDINARY = re.compile(rb"GET /[!\"$-~]*+ HTTP/1\.1\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t -~]*+\r\n)*+\r\n")
_EXTRAORDINARY = re.compile(rb"(?i)\n(?:content-length|transfer-encoding|expect):")
_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: "


class Refused(Exception):
    """The request does not open a WebSocket; the message is a sentence for whoever wrote the client."""

    def __init__(self, sentence: str, status: int = 400, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers: Headers = [*headers, _TEXT]

    @property
    def body(self) -> bytes:
        """The sentence, on a line of its own."""
        return f"{self}\n".encode()


class Upgrade(NamedTuple):
    """A request that opens a WebSocket. Names of headers are lower-case."""

    target: bytes
    headers: Headers
    accept: bytes  # the token that shows the client that it was understood

    @property
    def subprotocols(self) -> list[str]:
        """Those that the client speaks, the best first."""
        lists = [value.decode("latin-1") for name, value in self.headers if name == b"sec-websocket-protocol"]
        return [name.strip() for names in lists for name in names.split(",")]


def read_upgrade(head: bytes) -> Upgrade:
    """The request whose line and headers these are, up to and with the empty line. Raises Refused."""
    line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    method, _, rest = line.partition(b" ")
    target, _, version = rest.rpartition(b" ")
    if method != b"GET" or version != b"HTTP/1.1" or not target:
        raise Refused("A WebSocket is opened by GET, in HTTP/1.1.")
    headers = [_split(line) for line in lines]
    if len(_values(headers, b"host")) != 1:
        raise Refused("One Host header is needed.")
    if b"websocket" not in _tokens(headers, b"upgrade") or b"upgrade" not in _tokens(headers, b"connection"):
        raise Refused("The headers 'Upgrade: websocket' and 'Connection: Upgrade' are needed.")
    _check_version(headers)
    return Upgrade(target, headers, _accept(headers))


def read_ordinary(data: bytes) -> Upgrade | None:
    """The request, where `data` is one whole request that opens a WebSocket and nothing else, without anything in it
    that others could understand otherwise. None: it has to be looked at more closely."""
    if b"websocket" not in data or _ORDINARY.fullmatch(data) is None or _EXTRAORDINARY.search(data) is not None:
        return None
    try:
        return read_upgrade(data)
    except Refused:
        return None


def switching(accept: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The answer that opens the WebSocket."""
    return b"".join([_SWITCHING, accept, b"\r\n", *_lines(headers), b"\r\n"])


def response_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Any other answer, up to its body, behind which the connection ends."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    first = f"HTTP/1.1 {status} {phrase}\r\n".encode()
    return b"".join([first, *_lines(headers), b"connection: close\r\n\r\n"])


def _split(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon:
        raise Refused("A header has no colon.")
    return name.lower(), value.strip(b" \t")


def _values(headers: Headers, wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name == wanted]


def _tokens(headers: Headers, wanted: bytes) -> set[bytes]:
    return {token.strip().lower() for value in _values(headers, wanted) for token in value.split(b",")}


def _check_version(headers: Headers) -> None:
    versions = _values(headers, b"sec-websocket-version")
    if not versions:
        raise Refused("The header 'Sec-WebSocket-Version: 13' is needed.")
    if versions != [_VERSION]:
        known = [(b"sec-websocket-version", _VERSION), (b"upgrade", b"websocket")]
        raise Refused("Only version 13 of WebSocket is spoken here.", 426, known)


def _accept(headers: Headers) -> bytes:
    keys = _values(headers, b"sec-websocket-key")
    try:
        (key,) = keys
        fine = len(base64.b64decode(key, validate=True)) == 16
    except (ValueError, binascii.Error):
        fine = False
    if not fine:
        raise Refused("One Sec-WebSocket-Key header is needed: 16 bytes in Base64.")
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """Raises RuntimeError where a header of the application would not stay one."""
    lines = [name + b": " + value + b"\r\n" for name, value in headers]
    if any(line.count(b"\n") > 1 or line.count(b"\r") > 1 for line in lines):
        raise RuntimeError("a header holds a line break")
    return lines
