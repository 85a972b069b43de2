"""The words of an ending."""

import pytest

from shared.errors import PromptTooLong
from shared.messages import Failed, Tally, Usage
from shared.request import GenerationRequest, Turn
from worker import ending


@pytest.mark.parametrize(("content", "tokens"), [("", 0), ("abc", 1), ("abcd", 1), ("abcde", 2)])
def test_a_prompt_has_a_token_for_every_four_characters(content: str, tokens: int) -> None:
    assert ending.prompt_tokens(GenerationRequest((Turn("user", content),))) == tokens


def test_all_turns_count() -> None:
    request = GenerationRequest((Turn("system", "abcd"), Turn("user", "abcd")))
    assert ending.prompt_tokens(request) == 2


def test_usage_is_counted_where_it_can_be_and_estimated_otherwise() -> None:
    tally, before, counted = Tally(3, 4, 5), Tally(1, 2, 9), Usage(50, 40, False)
    assert ending.usage(tally, None, None) == Usage(5, 4, True)
    assert ending.usage(tally, counted, None) == counted
    assert ending.usage(tally, counted, before) == Usage(9, 42, True)


def test_a_failure_is_the_error_as_clients_see_it() -> None:
    assert ending.failed(PromptTooLong()) == Failed("prompt_too_long", PromptTooLong.sentence, False)


@pytest.mark.parametrize(
    ("text", "mended"),
    [("plain é 😀", "plain é 😀"), ("a\ud83d", "a\ufffd"), ("\ud83d\ude00", "😀"), ("\ude00b", "\ufffdb")],
)
def test_what_utf8_cannot_carry_is_replaced(text: str, mended: str) -> None:
    assert ending.mended(text) == mended
