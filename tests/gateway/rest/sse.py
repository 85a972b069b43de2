"""Server-sent events as an EventSource reads them (HTML, section 9.2.6), over httpx2."""

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx2


class Sse(NamedTuple):
    """One event. `id` is the last event id as it stands then."""

    type: str
    data: str
    id: str

    @property
    def frame(self) -> dict[str, Any]:
        """Its data, which is a JSON object."""
        found: dict[str, Any] = json.loads(self.data)
        return found


_open: list["EventReader"] = []


class EventReader:
    """Iterates over the events of a response; remembers `retry` and the comments."""

    def __init__(self, response: httpx2.Response) -> None:
        self._lines = response.aiter_lines()
        self.retry = 0
        self.last_id = ""
        self.comments: list[str] = []
        _open.append(self)

    async def close(self) -> None:
        """What was not read to its end holds on to its response."""
        await self._lines.aclose()  # type: ignore[attr-defined]

    @staticmethod
    async def close_all() -> None:
        """All that are open."""
        while _open:
            await _open.pop().close()

    def __aiter__(self) -> AsyncIterator[Sse]:
        return self

    async def __anext__(self) -> Sse:
        kind, data = "message", list[str]()
        async for line in self._lines:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line and data:
                return Sse(kind, "\n".join(data), self.last_id)
            match name:
                case "event":
                    kind = value
                case "data":
                    data.append(value)
                case "id":
                    self.last_id = value
                case "retry":
                    self.retry = int(value)
                case "" if line:
                    self.comments.append(value)
        raise StopAsyncIteration

    async def take(self, count: int) -> list[Sse]:
        """The next ones."""
        return [await anext(self) for _ in range(count)]

    async def until(self, *types: str) -> list[Sse]:
        """Up to and with the first of these types."""
        found = [await anext(self)]
        while found[-1].type not in types:
            found.append(await anext(self))
        return found

    async def rest(self) -> list[Sse]:
        """All that is left."""
        return [event async for event in self]
