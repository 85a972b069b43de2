"""The promises of the plain dialect, checked frame by frame on one connection."""

from tests.simulation.invariants import Records
from tests.simulation.violation import Violation


class Typescript:
    """`waiting`: what was sent and has not been answered to the end, in that order."""

    def __init__(self, who: str, records: Records) -> None:
        self.who = who
        self.waiting: list[str] = []
        self._records = records
        self._memories = records.memories
        self._frames: list[str] = []  # of the reply that is being read
        self._unsure: list[str] = []  # whose fate is unknown: they may still be answered
        self._whole = ""  # was answered last; while that is being stored its worker may still be lost

    def sent(self, content: str) -> None:
        """A message."""
        self.waiting.append(content)

    def handle(self, text: str) -> None:
        """A frame."""
        if text.startswith("error: "):
            self._on_error(text.split(": ")[1], text)
            return
        for tag in text.split("~")[1::2]:
            if tag != self.who:
                raise Violation("crossed", f"{self.who} read {text!r}")
        self._frames.append(text)
        self._on_piece(_squeezed("".join(self._frames)))

    def _on_error(self, code: str, text: str) -> None:
        fine = {
            "restarted": self._records.engines.kind == "restarting",
            "lost": self._records.memories > self._memories,
            "worker_lost": self._records.crashes > 0,
            "broker_unavailable": True,
            "queue_full": True,
            "store_unavailable": self._records.database is not None,
        }
        if not fine.get(code):
            raise Violation("error", f"{self.who} got {text!r}")
        if code == "restarted" and self._whole and not self._frames and self._records.database is not None:
            self._unsure.append(self._whole)
        self._frames.clear()
        if code != "restarted":
            self._unsure += self.waiting[:1]
            del self.waiting[:1]

    def _on_piece(self, said: str) -> None:
        """What was said since the last end begins the reply to the next message, or to one whose fate was unknown."""
        for content in (*self.waiting[:1], *self._unsure):
            foretold = _squeezed(self._records.engines.foretold(content, self._frames[0]))
            if foretold.startswith(said):
                if foretold == said:
                    self._answered(content)
                return
        raise Violation("text", f"{self.who} asked {self.waiting}, perhaps {self._unsure}, and holds {self._frames}")

    def _answered(self, content: str) -> None:
        self._frames.clear()
        self._whole = content
        if self.waiting[:1] == [content]:
            del self.waiting[0]
        else:
            self._unsure.remove(content)


def _squeezed(text: str) -> str:
    """Without white space: a frame boundary may stand for a line break."""
    return "".join(text.split())
