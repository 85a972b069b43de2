import base64
import os

import pytest
from websockets.client import ClientProtocol
from websockets.uri import parse_uri

from gateway.ws.handshake import Refused, read_upgrade, response_head, switching

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
RIGHT = {
    b"host": b"chat.example",
    b"upgrade": b"websocket",
    b"connection": b"Upgrade",
    b"sec-websocket-version": b"13",
    b"sec-websocket-key": KEY,
}


def head(first: bytes = b"GET /ws?a=b HTTP/1.1", more: bytes = b"", **changed: bytes | None) -> bytes:
    """A request; a header that is None is left out."""
    headers = RIGHT | {name.replace("_", "-").encode(): value for name, value in changed.items()}
    lines = [name + b": " + value + b"\r\n" for name, value in headers.items() if value is not None]
    return b"".join([first, b"\r\n", *lines, more, b"\r\n"])


def refusal(request: bytes) -> Refused:
    with pytest.raises(Refused) as found:
        read_upgrade(request)
    return found.value


def test_the_rfcs_own_example() -> None:
    upgrade = read_upgrade(head())
    assert upgrade.accept == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert upgrade.target == b"/ws?a=b"
    assert (b"host", b"chat.example") in upgrade.headers


def test_the_websockets_library_is_content_with_the_answer() -> None:
    client = ClientProtocol(parse_uri("ws://chat.example/ws"))
    client.send_request(client.connect())
    upgrade = read_upgrade(b"".join(client.data_to_send()))
    client.receive_data(switching(upgrade.accept, []))
    assert client.handshake_exc is None
    assert client.events_received()


def test_the_library_offers_subprotocols_that_we_read() -> None:
    asked = [b"Sec-WebSocket-Protocol: llm-chat.v1 ,  llm-chat.key.x\r\n", b"sec-websocket-protocol: other\r\n"]
    assert read_upgrade(head(more=b"".join(asked))).subprotocols == ["llm-chat.v1", "llm-chat.key.x", "other"]
    assert read_upgrade(head()).subprotocols == []


@pytest.mark.parametrize(
    "request_",
    [
        head(connection=b"keep-alive, Upgrade"),
        head(upgrade=b"WebSocket"),
        head(more=b"X-Empty:\r\n"),
        head(sec_websocket_key=base64.b64encode(os.urandom(16))),
    ],
)
def test_what_is_right_in_other_words(request_: bytes) -> None:
    read_upgrade(request_)


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        (head(b"POST /ws HTTP/1.1"), "GET"),
        (head(b"GET /ws HTTP/1.0"), "HTTP/1.1"),
        (head(b"GET"), "GET"),
        (head(host=None), "Host"),
        (head(more=b"Host: another\r\n"), "Host"),
        (head(upgrade=None), "Upgrade"),
        (head(upgrade=b"h2c"), "Upgrade"),
        (head(connection=None), "Connection"),
        (head(connection=b"keep-alive"), "Connection"),
        (head(more=b"nonsense\r\n"), "colon"),
        (head(sec_websocket_version=None), "Sec-WebSocket-Version"),
        (head(sec_websocket_key=None), "Sec-WebSocket-Key"),
        (head(sec_websocket_key=b""), "Sec-WebSocket-Key"),
        (head(sec_websocket_key=b"c2hvcnQ="), "Sec-WebSocket-Key"),
        (head(sec_websocket_key=b"not Base64!"), "Sec-WebSocket-Key"),
        (head(sec_websocket_key=KEY + b"\xff"), "Sec-WebSocket-Key"),
        (head(more=b"Sec-WebSocket-Key: " + KEY + b"\r\n"), "Sec-WebSocket-Key"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(request_: bytes, word: str) -> None:
    refused = refusal(request_)
    assert refused.status == 400
    assert word in str(refused)
    assert refused.body.endswith(b".\n") or refused.body.endswith(b"Base64.\n")


@pytest.mark.parametrize("version", [b"8", b"12", b"14", b"13, 8", b"", b"thirteen"])
def test_another_version_is_told_the_one_that_is_spoken(version: bytes) -> None:
    refused = refusal(head(sec_websocket_version=version))
    assert refused.status == 426
    assert (b"sec-websocket-version", b"13") in refused.headers


def test_answers_are_http() -> None:
    assert response_head(403, [(b"a", b"b")]) == b"HTTP/1.1 403 Forbidden\r\na: b\r\nconnection: close\r\n\r\n"
    assert response_head(599, []).startswith(b"HTTP/1.1 599 \r\n")
    assert switching(b"token", [(b"a", b"b")]).endswith(b"sec-websocket-accept: token\r\na: b\r\n\r\n")


@pytest.mark.parametrize("header", [(b"a", b"b\r\nc: d"), (b"a\n", b"b"), (b"a", b"\r"), (b"a\r\nx: y", b"")])
def test_a_header_cannot_smuggle_another(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(RuntimeError):
        switching(b"token", [header])
    with pytest.raises(RuntimeError):
        response_head(403, [header])
