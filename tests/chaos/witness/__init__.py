"""What the chaos command puts into the service's processes from outside; the service itself knows nothing of it.

By environment: CHAOS_DIRECTORY (where records go; without it nothing is done), CHAOS_WALL_OFFSET_MS (see clock.py),
CHAOS_CRASH (see crash.py), CHAOS_MUTATION (see mutations.py).
"""

from collections.abc import Mapping
from pathlib import Path

from tests.chaos.witness import broker, clock, crash, gateway, hooks, inside, mutations, worker
from tests.chaos.witness.tape import Tapes


def install(environment: Mapping[str, str]) -> None:
    """Have the service's modules patched as they are imported. Raises ValueError for a variable that cannot be.

    The order matters: mutations lie innermost, so that the witness sees what they did; crashes come last.
    """
    tapes = Tapes(Path(environment["CHAOS_DIRECTORY"]))
    patches = hooks.Patches(tapes)
    mutations.install(patches, tapes, environment.get("CHAOS_MUTATION", ""))
    clock.install(patches, int(environment.get("CHAOS_WALL_OFFSET_MS") or 0))
    broker.install(patches, tapes)
    gateway.install(patches, tapes)
    worker.install(patches, tapes)
    crash.install(patches, tapes, environment.get("CHAOS_CRASH", ""))
    inside.install(tapes)
    patches.listen()
