"""What all clients of a run share."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.proxy import Door, Straight


class Hall:
    """`doors` lead to the gateways, `chunks` is how many pieces a whole reply has. When `over` is set clients finish
    what they have begun and start nothing new."""

    def __init__(self, records: Path, doors: Sequence[tuple[str, Door | Straight]], chunks: int, seed: int) -> None:
        self.records = records
        self.doors = doors  # by the name of the gateway behind each
        self.chunks = chunks
        self.over = asyncio.Event()
        self.callers: dict[int, tuple[str, int]] = {}  # who holds a port: the client and the number of its connection
        self._seed = seed

    def chance(self, client: str) -> random.Random:
        """A client's own dice: what it does depends on the seed and on nobody else."""
        return random.Random(f"{self._seed}/{client}")
