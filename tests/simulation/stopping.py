"""What may follow a cancel of what waits in the line, on the connection that asked for it."""

from tests.simulation.invariants import Frame
from tests.simulation.violation import Violation


class Stopping:
    """One connection. A ping behind each cancel, with the id as its nonce, tells when the gateway has heard it."""

    def __init__(self, who: str) -> None:
        self.who = who
        self._asked: set[str] = set()  # neither accepted nor refused
        self._vague: set[str] = set()  # cancelled before they were asked, or answered: what is said may be about that
        self._heard: dict[str, bool] = {}  # stopped in the line; whether a loss was said since
        self._stopped: set[str] = set()  # accepted behind that loss: they must not run

    def asks(self, id: str) -> None:
        """A message is sent."""
        self._asked.add(id)

    def stops(self, id: str) -> None:
        """A cancel is sent."""
        if id not in self._asked:
            self._vague.add(id)

    def handle(self, frame: Frame) -> str:
        """A frame has come. Returns what is worth counting about it, if anything."""
        id = frame.get("id", "")
        match frame["type"]:
            case "pong" if self._waits(frame["nonce"]):
                self._heard[frame["nonce"]] = False
            case "session" if not frame["recovered"]:
                self._heard = dict.fromkeys(self._heard, True)
                self._stopped.clear()
            case "accepted":
                return self._accepted(id)
            case "error" if "cursor" not in frame:
                self._refused(id, frame)
            case "done" if frame["finish_reason"] != "cancelled" and id in self._stopped:
                raise Violation("cancel", f"{self.who} has cancelled {id} before it was accepted, and it ran")
        return ""

    def _waits(self, id: str) -> bool:
        """Whether it has been in the line at each of its cancels, and is."""
        return id in self._asked and id not in self._vague

    def _answered(self, id: str) -> bool:
        """Returns whether it was stopped in the line before a loss."""
        self._asked.discard(id)
        self._vague.add(id)
        return self._heard.pop(id, False)

    def _accepted(self, id: str) -> str:
        if not self._answered(id):
            return ""
        self._stopped.add(id)
        return "stopped in the line before a loss"

    def _refused(self, id: str, frame: Frame) -> None:
        if frame["code"] == "unknown_id" and self._waits(id):
            raise Violation("cancel", f"{self.who} has asked for {id}, cancelled it, and got {frame}")
        if frame["code"] != "unknown_id":
            self._answered(id)
