"""Who names the master: sentinels, which promote a replica where it is gone. They are asked each time that we link."""

import asyncio
from collections import deque
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from shared.brokers.redis import trouble
from shared.brokers.redis.address import Address, database, options, tls
from shared.brokers.redis.wire import open_wire

FORM = "redis+sentinel://user:password@host1:26379,host2:26379/name-of-the-master/0, or rediss+sentinel:// for TLS"
SCHEMES = ("redis+sentinel", "rediss+sentinel")
PORT = 26379
OWN = ("sentinel_username", "sentinel_password")  # what they want to hear themselves, if anything
ASK_SECONDS = 1.0  # for each of them


class Sentinels:
    """See address.Place. `name`: the master's; `master`: who we are to it."""

    def __init__(self, sentinels: Iterable[Address], name: str, master: Address) -> None:
        self._sentinels = deque(sentinels)
        self._name = name
        self._master = master

    def __repr__(self) -> str:
        return f"{self._ends}/{self._name}"

    @property
    def _ends(self) -> str:
        return ", ".join(sorted(sentinel.end for sentinel in self._sentinels))

    async def find(self) -> Address:
        """See address.Place. Every time it begins with another, so that we do not stay with one that is wrong."""
        found: list[trouble.Trouble] = []
        for _ in range(len(self._sentinels)):
            sentinel = self._sentinels[0]
            self._sentinels.rotate(-1)
            try:
                host, port = await self._ask(sentinel)
            except trouble.Trouble as error:
                found.append(error)
                continue
            return self._master._replace(host=host, port=port)
        unknown = [error for error in found if isinstance(error, Unknown)]
        raise unknown[0] if unknown else trouble.of_sentinels(self._ends, found[0])

    async def _ask(self, sentinel: Address) -> tuple[str, int]:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                wire = await open_wire(sentinel, "llm-chat", lambda wire: None)
                try:
                    answer = await wire.ask(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self._name)
                finally:
                    wire.abort()
        except (ConnectionResetError, TimeoutError) as error:
            raise trouble.of_exception(sentinel, error) from None
        except trouble.Moved:
            raise trouble.of_exception(sentinel, ConnectionResetError()) from None
        if answer is None:
            raise Unknown(self._ends, self._name)
        return answer[0].decode(), int(answer[1])


class Unknown(trouble.Trouble):
    """A sentinel that answers and knows no master of that name."""

    def __init__(self, ends: str, name: str) -> None:
        super().__init__(
            f"the Redis sentinels at {ends} know no master named {name!r}: correct the name in LLM_CHAT_BROKER_URL, "
            "or let them monitor it",
            lasting=True,
        )


def parse(url: str) -> Sentinels:
    """Raises ValueError, with a sentence for the operator that does not show the URL."""
    wrong = ValueError(f"LLM_CHAT_BROKER_URL names no sentinels: it has the form {FORM}")
    try:
        parts = urlsplit(url)
        who, _, where = parts.netloc.rpartition("@")
        ends = [_end(end) for end in where.split(",")]
    except ValueError:
        raise wrong from None
    name, _, number = parts.path.strip("/").partition("/")
    if parts.scheme not in SCHEMES or parts.fragment or not name:
        raise wrong
    user, _, password = (unquote(part) for part in who.partition(":"))
    chosen = options(parts, *OWN)
    context = tls(parts.scheme.startswith("rediss"), chosen)
    own = [chosen.get(option, "") for option in OWN]
    sentinels = [Address(host, port, 0, own[0], own[1], context, "sentinel") for host, port in ends]
    at = Address("", 0, database(number), user, password, context, "master that the sentinels name, the server")
    return Sentinels(sentinels, unquote(name), at)


def _end(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.path or parts.username is not None:
        raise ValueError
    return parts.hostname, parts.port or PORT
