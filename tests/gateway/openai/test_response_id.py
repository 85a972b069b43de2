import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai.response_id import ResponseId


@given(st.text(max_size=64), st.text(max_size=256))
def test_it_comes_back(session: str, message: str) -> None:
    try:
        (session + message).encode()
    except UnicodeEncodeError:
        return
    text = str(ResponseId(session, message))
    assert re.fullmatch(r"resp_[A-Za-z0-9_-]+", text)
    assert ResponseId.parse(text) == (session, message)


def test_items_have_ids_of_their_own() -> None:
    id = ResponseId.in_session("s_1")
    assert id.session == "s_1"
    assert id != ResponseId.in_session("s_1")
    assert len({str(id), id.item, id.input_item(0), id.input_item(1)}) == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "resp_",
        "resp_!!!!",
        "resp_é",
        "chatcmpl-abc",
        "resp_" + "A" * 2000,
        "resp_gqNzXzGhbQ==",
        "resp_kw",
        str(ResponseId("s_1", "m")).replace("resp_", "resp"),
        str(ResponseId("s_1", "m"))[:-1],
    ],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the id of a response"):
        ResponseId.parse(text)
