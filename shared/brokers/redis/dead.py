"""Dead letters: messages that nobody could complete, and entries that could not be read, each with its reason."""

import secrets
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

from shared.brokers.redis.link import RedisLink
from shared.errors import InvalidMessage
from shared.messages import Submission

PAGE = 100  # letters read at once


class Letter(NamedTuple):
    """`id` is what the commands name it by; the fields differ by reason."""

    id: str
    fields: dict[str, bytes]

    @property
    def is_message(self) -> bool:
        """Whether it can be submitted anew."""
        return bool(self.fields.get("session") and self.fields.get("request") and self.fields.get("about"))

    def line(self) -> str:
        """For a terminal: no content, and nothing that could control one."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(self.id.split("-")[0]) / 1000))
        shown = [f"{name}={_plain(value)}" for name, value in sorted(self.fields.items()) if name in SHOWN]
        size = sum(len(value) for value in self.fields.values())
        return " ".join([self.id, at, *shown, f"bytes={size}", "message" if self.is_message else "entry"])


SHOWN = ("reason", "session", "id", "generation", "attempts", "position", "entry", "list", "lease")


def _plain(value: bytes) -> str:
    return ascii(value.decode(errors="replace"))[1:-1][:120]


async def letters(link: RedisLink) -> AsyncIterator[Letter]:
    """All of them, the oldest first."""
    start = "-"
    while True:
        page: list[tuple[str, list[bytes]]] = await link.call("letters", start, PAGE)
        for id, flat in page:
            names = [name.decode(errors="replace") for name in flat[::2]]
            yield Letter(id, dict(zip(names, flat[1::2], strict=True)))
            start = f"({id}"
        if len(page) < PAGE:
            return


async def replay(link: RedisLink, letter: Letter) -> str:
    """Submit its message under an id of its own (an ended id never runs again), and discard the letter. Returns that
    id. Raises ChatError."""
    if not letter.is_message:
        raise InvalidMessage("it holds no message")
    fields = letter.fields
    session, about = fields["session"].decode(), msgspec.msgpack.decode(b"\x93" + fields["about"])
    await link.call("open", session, *about, int(fields.get("generation", b"0")), "")
    id = f"replay-{secrets.token_hex(6)}"
    await link.call("submit", Submission(session, id, 0, fields["request"]))
    await link.call("discard", letter.id)
    return id
