"""CHAOS_MUTATION=name: breaks the service on purpose, so that the checker can be shown to notice.

Each stands in one place of the service and leaves the rest as it is, as a mistake of ours would.
"""

from tests.chaos.witness import broken_broker, broken_gateway, broken_redis, broken_worker
from tests.chaos.witness.hooks import Patches
from tests.chaos.witness.tape import Tapes

MUTATIONS = {**broken_broker.MUTATIONS, **broken_gateway.MUTATIONS, **broken_redis.MUTATIONS}
MUTATIONS |= broken_worker.MUTATIONS


def install(patches: Patches, tapes: Tapes, name: str) -> None:
    """Break what `name` says; nothing where it is empty. Raises ValueError for a name that does not exist.

    The first time that it shows in a process, that is recorded (`mutated`).
    """
    if not name:
        return
    if name not in MUTATIONS:
        raise ValueError(f"no mutation is called {name!r}")
    told = False

    def struck() -> None:
        nonlocal told
        if not told:
            told = True
            tapes.of("witness").write("mutated", name=name)

    module, break_it = MUTATIONS[name]
    patches.add(module, lambda found: break_it(found, struck))
