"""An engine for tests that obeys its message and keeps notes: echo, installed as any package installs an engine.

    environment = lab.install(tmp_path)     # for a worker: LLM_CHAT_ENGINE names it, PYTHONPATH finds it
    lab.notes(tmp_path, "calm 3")           # what was noted of that message: start, piece, piece, ..., abort

The first word of a message is an order: `poison` kills the engine's process at once, `venom` with its third piece,
`mute` is never answered, `forget` cannot be gone on with (it begins again). All else is echoed as the settings say.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from shared.errors import ChatError
from shared.messages import Usage
from shared.settings import Settings
from worker.engines import echo
from worker.engines.base import Engine, Job, Sink

NOTES = "LAB_NOTES"  # the variable that names the directory
DEADLY = 3  # the piece that venom does not survive


class Note(NamedTuple):
    """What happened, and in which process."""

    what: str
    pid: int


class Lab:
    """See the module."""

    model = "lab"
    continues = True
    contextual = True
    blocks = False

    def __init__(self, engine: Engine, directory: Path) -> None:
        self._engine = engine
        self._directory = directory
        self.slots = engine.slots
        self.first_piece_limit = engine.first_piece_limit
        self.next_piece_limit = engine.next_piece_limit

    def start(self, job: Job, sink: Sink) -> Callable[[], None]:
        """See Engine."""
        message = job.request.turns[-1].content
        noting = NotingSink(sink, self._directory / _file_name(message))
        noting.note("start")
        match message.split()[0]:
            case "poison":
                die()
            case "venom":
                noting.pieces_left = DEADLY - job.pieces
            case "mute":
                return lambda: noting.note("abort")
            case "forget":
                sink.restart()
                job = Job(job.request)
        abort = self._engine.start(job, noting)

        def noted() -> None:
            abort()
            noting.note("abort")

        return noted

    async def close(self) -> None:
        """See Engine."""
        await self._engine.close()


class NotingSink:
    """Notes each piece, also one that nobody wants any more, and passes all on."""

    def __init__(self, sink: Sink, file: Path) -> None:
        self._sink = sink
        self._file = file
        self.pieces_left = 1 << 30  # the last of them kills the process

    @property
    def congested(self) -> bool:
        """See Sink."""
        return self._sink.congested

    async def relief(self) -> None:
        """See Sink."""
        await self._sink.relief()

    def prompt(self, tokens: int) -> None:
        """See Sink."""
        self._sink.prompt(tokens)

    def restart(self) -> None:
        """See Sink."""
        self._sink.restart()

    def piece(self, text: str, tokens: int = 1) -> None:
        """See Sink."""
        self.note("piece")
        self.pieces_left -= 1
        if self.pieces_left <= 0:
            die()
        self._sink.piece(text, tokens)

    def finish(self, reason: Literal["stop", "length"], usage: Usage | None = None) -> None:
        """See Sink."""
        self._sink.finish(reason, usage)

    def fail(self, error: ChatError) -> None:
        """See Sink."""
        self._sink.fail(error)

    def note(self, what: str) -> None:
        """Written at once: the next moment may be the last."""
        with self._file.open("a") as file:
            file.write(f"{what} {os.getpid()}\n")


def die() -> None:
    """By a signal that nobody can catch."""
    os.kill(os.getpid(), signal.SIGKILL)


def open_engine(settings: Settings) -> Lab:
    """The entry point."""
    return Lab(echo.open_engine(settings), Path(os.environ[NOTES]))


# --- for the test -----------------------------------------------------------------------------------------------------


def install(directory: Path) -> dict[str, str]:
    """Make the package known; returns the environment that its workers need."""
    package = directory / "lab-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(f"[llm_chat.engines]\nlab = {__name__}:open_engine\n")
    (directory / "notes").mkdir()
    return {"PYTHONPATH": str(directory), "LLM_CHAT_ENGINE": "lab", NOTES: str(directory / "notes")}


def notes(directory: Path, message: str) -> list[Note]:
    """What was noted of the message so far."""
    file = directory / "notes" / _file_name(message)
    lines = file.read_text().splitlines() if file.exists() else []
    return [Note(what, int(pid)) for what, pid in map(str.split, lines)]


def _file_name(message: str) -> str:
    return "-".join(message.split())
