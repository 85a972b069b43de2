from shared.errors import ChatError, EngineError


def test_an_error_that_narrows_another_does_not_take_its_code() -> None:
    class Narrower(EngineError):
        """Has no code of its own."""

    assert Narrower.code == EngineError.code
    assert type(ChatError.of(EngineError.code, "as it came over the wire")) is EngineError


def test_an_unknown_code_is_an_internal_error() -> None:
    error = ChatError.of("of another version", "a sentence", 7)
    assert (type(error), error.message, error.detail) == (ChatError, "a sentence", 7)
