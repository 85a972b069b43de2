"""Makes the faults of a plan happen."""

from typing import TYPE_CHECKING

from tests.simulation.broker import BrokerProcess
from tests.simulation.faults import HOUR_MS, Fault
from tests.simulation.gateway import GatewayProcess
from tests.simulation.loop import Process
from tests.simulation.worker import WorkerProcess

if TYPE_CHECKING:
    from tests.simulation.world import World

KILL_AGAIN = 0.05  # seconds between two looks for workers to be killed
GATEWAY_RESTART = 0.4  # seconds until a gateway that is gone is replaced


class Trouble:
    """A method for each kind of fault."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def begin(self, fault: Fault) -> None:
        """What it is, and to whom."""
        self._world.say("fault", "", fault)
        self._world.note(fault.what)
        getattr(self, "_" + fault.what)(fault)

    def _kill_worker(self, fault: Fault) -> None:
        self._strike_worker(fault, 0.005)

    def _kill_worker_quietly(self, fault: Fault) -> None:
        self._strike_worker(fault, None)

    def _strike_worker(self, fault: Fault, bury_after: float | None) -> None:
        workers = self._world.supervisor.workers
        if workers:
            worker = workers[fault.victim % len(workers)]
            worker.process.strike_after(fault.callbacks, lambda: self._worker_dies(worker, bury_after))

    def _worker_dies(self, worker: WorkerProcess, bury_after: float | None) -> None:
        if worker in self._world.supervisor.workers:
            self._world.say(worker.process.name, "", "dies")
            self._world.records.crashes += 1
            worker.kill()
            self._world.supervisor.mourn(worker, bury_after)

    def _kill_all_workers(self, fault: Fault) -> None:
        for worker in tuple(self._world.supervisor.workers):
            self._worker_dies(worker, None)

    def _kill_every_worker(self, fault: Fault) -> None:
        self._kill_on(self._world.loop.now + fault.seconds)

    def _kill_on(self, until: float) -> None:
        for worker in tuple(self._world.supervisor.workers):
            if not worker.alone:
                self._worker_dies(worker, 0.005)
        if self._world.loop.now < until:
            self._world.outside(self._world.loop.now + KILL_AGAIN, self._kill_on, until)

    def _freeze_worker(self, fault: Fault) -> None:
        workers = self._world.supervisor.workers
        if workers:
            self._world.records.crashes += 1
            self._freeze(workers[fault.victim % len(workers)].process, fault)

    def _freeze(self, process: Process, fault: Fault) -> None:
        def strike() -> None:
            process.freeze()
            self._world.outside(self._world.loop.now + fault.seconds, process.thaw)

        process.strike_after(fault.callbacks, strike)

    def _stop_worker(self, fault: Fault) -> None:
        workers = self._world.supervisor.workers
        if workers:
            workers[fault.victim % len(workers)].stop()

    def _gateway(self, fault: Fault) -> GatewayProcess | None:
        living = [gateway for gateway in self._world.gateways if not gateway.refuses]
        return living[fault.victim % len(living)] if living else None

    def _kill_gateway(self, fault: Fault) -> None:
        gateway = self._gateway(fault)
        if gateway is not None:
            gateway.process.strike_after(fault.callbacks, lambda: self._gateway_dies(gateway))

    def _gateway_dies(self, gateway: GatewayProcess) -> None:
        if gateway in self._world.gateways and not gateway.hub.stopping:
            self._world.say(gateway.process.name, "", "dies")
            gateway.kill()
            self._world.gateways.remove(gateway)
            self._world.outside(self._world.loop.now + GATEWAY_RESTART, self._world.start_gateway)

    def _stop_gateway(self, fault: Fault) -> None:
        gateway = self._gateway(fault)
        if gateway is not None:
            gateway.stop().add_done_callback(lambda _: self._gateway_ended(gateway))
            self._world.outside(self._world.loop.now + GATEWAY_RESTART, self._world.start_gateway)

    def _gateway_ended(self, gateway: GatewayProcess) -> None:
        if not gateway.process.alive:
            return
        self._world.check_left(gateway.process.name, [*gateway.left(), *self._world.loop.pending(gateway.process)])
        gateway.kill()
        self._world.gateways.remove(gateway)

    def _freeze_gateway(self, fault: Fault) -> None:
        gateway = self._gateway(fault)
        if gateway is not None:
            self._freeze(gateway.process, fault)

    def _cut_worker(self, fault: Fault) -> None:
        workers = self._world.supervisor.workers
        if workers:
            self._cut(workers[fault.victim % len(workers)].process, fault)

    def _cut_gateway(self, fault: Fault) -> None:
        gateway = self._gateway(fault)
        if gateway is not None:
            self._cut(gateway.process, fault)

    def _cut(self, process: Process, fault: Fault) -> None:
        """At once, or with the next message of a kind."""
        if fault.callbacks < 4:
            self._world.network.cut(process)
        else:
            kind = "waits" if fault.callbacks % 4 == 0 else "calls"
            self._world.network.doom(process, kind, "request" if fault.callbacks % 3 == 0 else "answer")

    def _cut_sockets(self, fault: Fault) -> None:
        gateway = self._gateway(fault)
        for socket in tuple(gateway.sockets) if gateway is not None else ():
            socket.cut()

    def _pause_broker(self, fault: Fault) -> None:
        if self._world.network.broker is not None:
            self._freeze(self._world.network.broker.process, fault)

    def _kill_broker(self, fault: Fault) -> None:
        broker = self._world.network.broker
        if broker is not None:
            broker.process.strike_after(fault.callbacks, lambda: self._broker_dies(broker))

    def _broker_dies(self, broker: BrokerProcess) -> None:
        self._world.say(broker.process.name, "", "dies")
        self._world.network.broker_died()
        broker.process.kill()

    def _set_clock(self, fault: Fault) -> None:
        self._world.clock.offset_ms += HOUR_MS if fault.victim % 2 else -HOUR_MS
