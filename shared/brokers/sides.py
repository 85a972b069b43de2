"""The two broker interfaces over anything that carries calls to a BrokerState, be it in this process or in another."""

from asyncio import Future
from collections.abc import Sequence
from typing import Any, Protocol

from shared.messages import Accepted, Attached, Batch, Cursor, Flush, Page, Polled, Recalled, Refusal, Stats, Submission


class Link(Protocol):
    """Carries calls, in order, to the methods of a BrokerState."""

    def call(self, method: str, *args: Any) -> "Future[Any]":
        """Start a call; fails with what the method raises, or with BrokerUnavailable."""
        ...

    async def drain(self, gateway: str) -> Batch:
        """Wait for the next batch, across any number of lost links."""
        ...

    async def poll(self, worker: str, seen: int, held: Sequence[int] | None, free_slots: int, alone: bool) -> Polled:
        """Wait for the next answer, across any number of lost links."""
        ...

    async def close(self, goodbye: str, name: str) -> None:
        """Call `goodbye` with the peer's name, if the broker is there, and end the link."""
        ...


class GatewaySide:
    """shared.broker.GatewayBroker over a link."""

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._name = name

    @property
    def trouble(self) -> str:
        """Why the broker does not answer, as a sentence for the operator; empty where the link cannot tell."""
        return getattr(self._link, "trouble", "")

    def open(
        self, session: str, owner: str, system: str | None, model: str | None, floor: int = 0, epoch: str = ""
    ) -> "Future[None]":
        """See GatewayBroker."""
        return self._link.call("open", session, owner, system, model, floor, epoch)

    def submit(self, submission: Submission) -> "Future[Accepted]":
        """See GatewayBroker."""
        return self._link.call("submit", submission)

    def cancel(self, session: str, id: str) -> "Future[bool]":
        """See GatewayBroker."""
        return self._link.call("cancel", session, id)

    def attach(self, session: str, after: Cursor | None) -> "Future[Attached]":
        """See GatewayBroker."""
        return self._link.call("attach", self._name, session, after)

    def detach(self, session: str) -> "Future[None]":
        """See GatewayBroker."""
        return self._link.call("detach", self._name, session)

    async def drain(self) -> Batch:
        """See GatewayBroker."""
        return await self._link.drain(self._name)

    def read(self, session: str, after: Cursor | None, limit: int) -> "Future[Page]":
        """See GatewayBroker."""
        return self._link.call("read", session, after, limit)

    def recall(self, session: str, id: str) -> "Future[Recalled]":
        """See GatewayBroker."""
        return self._link.call("recall", session, id)

    def annotate(self, session: str, id: str, note: bytes) -> "Future[None]":
        """See GatewayBroker."""
        return self._link.call("annotate", session, id, note)

    def newest(self, sessions: Sequence[str]) -> "Future[list[int]]":
        """See GatewayBroker."""
        return self._link.call("newest", sessions)

    def forget(self, session: str) -> "Future[None]":
        """See GatewayBroker."""
        return self._link.call("forget", session)

    def spend(self, token: str, spender: str, epoch: str, ttl: float) -> "Future[bool]":
        """See GatewayBroker."""
        return self._link.call("spend", token, spender, epoch, ttl)

    def stats(self) -> "Future[Stats]":
        """See GatewayBroker."""
        return self._link.call("stats")

    async def close(self) -> None:
        """See GatewayBroker."""
        await self._link.close("leave_gateway", self._name)


class WorkerSide:
    """shared.broker.WorkerBroker over a link."""

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._name = name

    @property
    def spacing(self) -> float:
        """Seconds that two appends should lie apart where nobody waits for a first piece: where each is dear."""
        return getattr(self._link, "spacing", 0.0)

    async def poll(self, seen: int, held: Sequence[int] | None, free_slots: int, alone: bool = False) -> Polled:
        """See WorkerBroker."""
        return await self._link.poll(self._name, seen, held, free_slots, alone)

    def append(self, flushes: Sequence[Flush]) -> "Future[list[Refusal]]":
        """See WorkerBroker."""
        return self._link.call("append", flushes)

    def release(self, leases: Sequence[int]) -> "Future[None]":
        """See WorkerBroker."""
        return self._link.call("release", leases)

    def renew(self, leases: Sequence[int]) -> "Future[None]":
        """See WorkerBroker."""
        return self._link.call("renew", leases)

    def bury(self, worker: str) -> "Future[int]":
        """See WorkerBroker."""
        return self._link.call("bury", worker)

    def stats(self) -> "Future[Stats]":
        """See WorkerBroker."""
        return self._link.call("stats")

    async def close(self) -> None:
        """See WorkerBroker."""
        await self._link.close("leave_worker", self._name)
