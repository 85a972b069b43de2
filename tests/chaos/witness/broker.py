"""When a memory of the broker begins: what was before it is lost."""

from typing import Any

from tests.chaos.witness.hooks import Patches, Watching
from tests.chaos.witness.tape import Tapes


def install(patches: Patches, tapes: Tapes) -> None:
    """Watch BrokerState."""

    def patch(module: Any) -> None:
        tape = tapes.of("broker")

        def born(_: None, state: Any, *args: Any) -> None:
            tape.write("memory", epoch=state.epoch)

        Watching(tapes).after(module.BrokerState, "__init__", born)

    # The module belongs to brokers within one process, too, and to the typing of calls: gateways and workers import it.
    patches.add("shared.brokers.manager.server", patch)
