from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.credentials import LONGEST, NONE, Credentials, hidden, shown
from shared.errors import NotAuthenticated

V1 = "llm-chat.v1"


def scope(*headers: tuple[str, str], names: list[str] | None = None) -> dict[str, Any]:
    """As a server makes it."""
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    if names is None:
        return {"type": "http", "headers": pairs}
    offered = [(b"sec-websocket-protocol", ", ".join(names).encode())] if names else []
    return {"type": "websocket", "headers": pairs + offered, "subprotocols": names}


@pytest.mark.parametrize("value", ["Bearer abc", "bearer abc", "BEARER  abc "])
def test_a_bearer_is_in_its_header(value: str) -> None:
    assert shown(scope(("authorization", value))) == Credentials(bearer="abc")


@pytest.mark.parametrize("value", ["Basic YTpi", "abc", "Bearerabc", ""])
def test_other_schemes_are_none_of_ours(value: str) -> None:
    assert shown(scope(("authorization", value), names=[])) == NONE


def test_where_headers_cannot_be_sent_it_is_a_subprotocol() -> None:
    assert shown(scope(names=[V1, "llm-chat.key.abc"])) == Credentials(bearer="abc")
    assert shown(scope(names=["llm-chat.ticket.a.b", V1])) == Credentials(ticket="a.b")
    assert shown(scope(("authorization", "Basic YTpi"), names=["llm-chat.key.abc"])) == Credentials(bearer="abc")
    assert shown(scope(names=[V1, "llm-chat.keys"])) == NONE


def test_nothing_in_a_url_is_looked_at() -> None:
    with_query = {**scope(names=[V1]), "path": "/ws/llm-chat.key.abc", "query_string": b"key=abc&access_token=abc"}
    assert shown(with_query) == NONE


@pytest.mark.parametrize(
    "given_scope",
    [
        scope(("authorization", "Bearer a"), ("authorization", "Bearer b")),
        scope(("authorization", "Bearer a"), names=["llm-chat.key.b"]),
        scope(names=["llm-chat.key.a", "llm-chat.ticket.b"]),
        scope(names=["llm-chat.key.a", "llm-chat.key.a"]),
        scope(("authorization", "Bearer " + "a" * (LONGEST + 1))),
    ],
)
def test_too_much_is_refused(given_scope: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticated):
        shown(given_scope)


def test_it_is_taken_out_of_the_scope_and_nothing_else() -> None:
    before = scope(("host", "x"), ("authorization", "Bearer s3cret"), names=["llm-chat.key.s3cret", V1, "chat"])
    after = hidden(before)
    assert "s3cret" in repr(before)
    assert after == {
        "type": "websocket",
        "headers": [(b"host", b"x"), (b"sec-websocket-protocol", b"llm-chat.key, llm-chat.v1, chat")],
        "subprotocols": ["llm-chat.key", V1, "chat"],
    }
    assert "subprotocols" not in hidden(scope())


tokens = st.text("abcXYZ019-_.~", min_size=1)


@given(
    st.lists(st.tuples(st.sampled_from([b"authorization", b"host", b"sec-websocket-protocol"]), st.binary())),
    st.lists(st.sampled_from(["llm-chat.key.", "llm-chat.ticket.", "", "x"]).flatmap(lambda p: tokens.map(p.__add__))),
)
def test_garbage_is_refused_or_taken_and_nothing_else(headers: list[tuple[bytes, bytes]], names: list[str]) -> None:
    given_scope = {"type": "websocket", "headers": headers, "subprotocols": names}
    try:
        found = shown(given_scope)
    except NotAuthenticated:
        return
    finally:
        left = hidden(given_scope)
    assert None in found
    assert shown(left) == NONE
