"""The stores under test, and short ways to say what is stored."""

from typing import Any

from shared.messages import Done, Failed, Receipt, Timing, Usage, text_sha256
from shared.store import Answer, Question, Store, StoredSession

START = 1_700_000_000_000
DONE = Usage(3, 5, estimated=True), Timing(1, 2, 3)


def session(id: str = "s", owner: str = "me", at: int = 0, **fields: Any) -> StoredSession:
    """`at`: milliseconds behind START."""
    return StoredSession(id, owner, created_ms=START + at, updated_ms=START + at, **fields)


def question(id: str = "m1", content: str = "Hello", of: str = "s", at: int = 0, **fields: Any) -> Question:
    """A message."""
    return Question(of, id, content, asked_ms=START + at, **fields)


def answer(
    id: str = "m1",
    text: str = "Hi!",
    of: str = "s",
    generation: int = 7,
    attempt: int = 1,
    end: Done | Failed | None = None,
) -> Answer:
    """The reply to a message, which ended well unless `end` says otherwise."""
    return Answer(of, id, generation, attempt, 4, "00c0ffee", text, end or done(text), "echo", START + 9)


def done(text: str, reason: Any = "stop") -> Done:
    """A good end."""
    return Done(reason, *DONE, text_sha256(text), Receipt(3, 2, None) if reason == "cancelled" else None)


async def exchange(store: Store, id: str, generation: int, of: str = "s", text: str = "Hi!") -> None:
    """A whole turn."""
    await store.ask(question(id, f"Hello {id}", of))
    await store.answer(answer(id, text, of, generation))
