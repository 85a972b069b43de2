"""A client whose connection never lasts: it goes away after a few events and resumes at the other gateway."""

from typing import Any

from tests.chaos.clients.hall import Hall
from tests.chaos.clients.json_client import Habits, JsonClient, Leave
from tests.chaos.clients.line import Line

EVENTS = (1, 12)  # that a connection lives


class ReconnectingClient(JsonClient):
    """`each`: go away after every single event."""

    kind = "reconnecting"

    def __init__(self, hall: Hall, number: int, habits: Habits = Habits(), *, each: bool = False) -> None:  # noqa: B008
        super().__init__(hall, number, habits)
        self._each = each
        self._left = self._life()

    async def heard(self, line: Line, frame: dict[str, Any]) -> None:
        """See JsonClient."""
        if "cursor" not in frame or frame["id"] in self.ended:
            return
        self._left -= 1
        if self._left <= 0:
            self._left = self._life()
            raise Leave

    def _life(self) -> int:
        return 1 if self._each else self.chance.randint(*EVENTS)
