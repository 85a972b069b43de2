"""What networks do between the hosts of the service: to the ways from and to the broker's host."""

import asyncio
from collections.abc import Sequence

from tests.chaos.cluster import Node
from tests.chaos.faults.base import Fault, NotRun, Occasion, at_work, pick
from tests.chaos.hosts import Network
from tests.chaos.plan import Sort
from tests.chaos.stage import Stage

LANE = "links"
BROKER = "broker"  # the name of its host
HOLD = 7.0  # seconds, longer than two leases, and than any call waits for its answer
SLOW = 0.2  # seconds that each packet takes longer, on each way
AFTER = 1.0  # seconds


class LinkFault(Fault):
    """Something is wrong with the network for HOLD seconds."""

    def victim(self, stage: Stage, occasion: Occasion) -> Node:
        """Whose link it is."""
        return pick(stage.cluster.workers, occasion.stroke)

    def spoil(self, network: Network, node: Node) -> None:
        """Begin."""
        raise NotImplementedError

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        network = stage.cluster.ground.network
        if network is None:
            raise NotRun("all nodes are on one host")
        node = self.victim(stage, occasion)
        async with node.busy:
            if node.role == "worker":
                await at_work(stage, node)
            try:
                self.spoil(network, node)
                occasion.struck(node, [one.pid for one in node.family()])
                await asyncio.sleep(HOLD)
            finally:
                network.mend()


class WorkerPartition(LinkFault):
    """Its replies are written by others; what it still writes is for nobody."""

    sort = Sort("worker_partition", LANE, HOLD + AFTER, True)
    words = f"a worker's host and the broker's cut off from each other for {HOLD:.0f} s"

    def spoil(self, network: Network, node: Node) -> None:
        """See LinkFault."""
        network.cut(node.name, BROKER)


class WorkerUnheard(LinkFault):
    """It hears the broker and is not heard."""

    sort = Sort("worker_unheard", LANE, HOLD + AFTER, True)
    words = f"all packets from a worker's host to the broker's lost for {HOLD:.0f} s, none on the way back"

    def spoil(self, network: Network, node: Node) -> None:
        """See LinkFault."""
        network.set(node.name, BROKER, lost=1.0)


class WorkerDeaf(LinkFault):
    """It is heard and does not hear the broker."""

    sort = Sort("worker_deaf", LANE, HOLD + AFTER, True)
    words = f"all packets from the broker's host to a worker's lost for {HOLD:.0f} s, none on the way there"

    def spoil(self, network: Network, node: Node) -> None:
        """See LinkFault."""
        network.set(BROKER, node.name, lost=1.0)


class GatewayCutOff(LinkFault):
    """Its clients stay connected and hear nothing until it is over."""

    sort = Sort("gateway_cut_off", LANE, HOLD + AFTER, True)
    words = f"a gateway's host and the broker's cut off from each other for {HOLD:.0f} s"

    def victim(self, stage: Stage, occasion: Occasion) -> Node:
        """See LinkFault."""
        return pick(stage.cluster.gateways, occasion.stroke)

    def spoil(self, network: Network, node: Node) -> None:
        """See LinkFault."""
        network.cut(node.name, BROKER)


class BrokerFar(Fault):
    """Nothing is to be restarted for it."""

    sort = Sort("broker_far", LANE, HOLD + AFTER, True)
    words = f"every packet from and to the broker's host {SLOW * 1000:.0f} ms later, for {HOLD:.0f} s"

    async def cause(self, stage: Stage, occasion: Occasion) -> None:
        """See Fault."""
        network = stage.cluster.ground.network
        if network is None:
            raise NotRun("all nodes are on one host")
        try:
            for node in stage.nodes():
                network.slow(node.name, BROKER, SLOW)
            occasion.begun("broker", "broker", [stage.cluster.broker.pid])
            await asyncio.sleep(HOLD)
        finally:
            network.mend()


ALL: Sequence[type[Fault]] = (WorkerPartition, WorkerUnheard, WorkerDeaf, GatewayCutOff, BrokerFar)
LINKS: dict[str, type[Fault]] = {fault.sort.name: fault for fault in ALL}
