"""Mutations of the gateway: what it drains, delivers and says. See mutations.py."""

import os
from collections.abc import Callable
from itertools import count
from typing import Any

Struck = Callable[[], None]
TERMINAL = 4


def dropped_drain(module: Any, struck: Struck) -> None:
    """Now and then a drained item is counted as written, but reaches nobody."""
    outbox = module.Outbox
    turn = count(1)

    def some(way: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
        def take(self: Any, item: Any) -> bool:
            fits = self.live and self.next_index == item.index
            if item.flags or not item.first or not fits or next(turn) % 4:
                return way(self, item)
            struck()
            self.next_index += 1
            return True

        return take

    outbox.follow, outbox.offer = some(outbox.follow), some(outbox.offer)


def crossed_session(module: Any, struck: Struck) -> None:
    """Now and then an item goes to the connections of another session, too."""
    hub = module.Hub
    deliver = hub.deliver
    turn = count(1)

    def deliver_more(self: Any, batch: Any) -> None:
        deliver(self, batch)
        for item in batch.items:
            others = [other for id, other in self._sessions.items() if id != item.session and other.connections]
            if others and item.session in self._sessions and not item.flags and next(turn) % 5 == 0:
                struck()
                for connection in others[0].connections:
                    connection.outbox.put(connection.dialect.events(item, 0))

    hub.deliver = deliver_more


def silent_loss(module: Any, struck: Struck) -> None:
    """A new memory of the broker is taken note of, but nobody is told."""

    def see(self: Any, epoch: str) -> None:
        known, self._epoch = self._epoch, epoch
        if known and known != epoch:
            struck()
            for session in self._sessions.values():
                session.forget()
                for connection in session.connections:
                    connection.outbox.begin(None, 0)

    module.Hub._see_epoch = see


def false_loss(module: Any, struck: Struck) -> None:
    """A loss is said where there was none: for whoever says that, a missing reply is always excused."""
    hub = module.Hub
    joined = hub._joined

    def say(self: Any, connection: Any, session: Any, *args: Any) -> None:
        joined(self, connection, session, *args)
        struck()
        connection.outbox.put(connection.dialect.lost(session.id, pending=True, open=()))

    hub._joined = say


def leaked_descriptor(module: Any, struck: Struck) -> None:
    """Each connection leaves a descriptor behind."""
    hub = module.Hub
    leave = hub.leave

    def leave_badly(self: Any, connection: Any) -> None:
        leave(self, connection)
        struck()
        os.open(os.devnull, os.O_RDONLY)

    hub.leave = leave_badly


def altered_replay(module: Any, struck: Struck) -> None:
    """What is read again is not what was sent live."""
    paging = module.Paging
    write_page = paging.write

    def write(self: Any, connection: Any, session: Any, page: Any) -> None:
        dialect = connection.dialect
        connection.outbox._dialect = Altering(dialect, struck)
        write_page(self, connection, session, page)
        connection.outbox._dialect = dialect

    paging.write = write


class Altering:
    """A dialect that puts a digit in front of every total time."""

    def __init__(self, dialect: Any, struck: Struck) -> None:
        self._dialect = dialect
        self._struck = struck

    def events(self, item: Any, skip: int) -> list[bytes]:
        """See gateway.dialect.Dialect."""
        payloads = [payload.replace(b'"total_ms":', b'"total_ms":1') for payload in self._dialect.events(item, skip)]
        if item.flags & TERMINAL:
            self._struck()
        return payloads


def _of_terminals(change: Callable[[list[bytes], bytes], list[bytes]]) -> Callable[[Any, Struck], None]:
    """A mutation that changes the frames of an item that ends a reply; `change` gets a further delta to add, too."""

    def break_it(module: Any, struck: Struck) -> None:
        events = module.JsonDialect.events

        def changed(self: Any, item: Any, skip: int) -> list[bytes]:
            payloads: list[bytes] = events(self, item, skip)
            if not item.flags & TERMINAL:
                return payloads
            after = f"{item.generation}-{item.attempt}-{item.first + item.count}-{item.nonce}"
            found = change(payloads, b'{"type":"delta","id":"%s","cursor":"%s","text":"x"}' % _bytes(item.id, after))
            if found != payloads:
                struck()
            return found

        module.JsonDialect.events = changed

    return break_it


def _bytes(*words: str) -> tuple[bytes, ...]:
    return tuple(word.encode() for word in words)


def _no_terminal(payloads: list[bytes], delta: bytes) -> list[bytes]:
    return payloads[:-1]


def _second_terminal(payloads: list[bytes], delta: bytes) -> list[bytes]:
    """Under the next cursor, which is that of the delta."""
    old, new = (payload.split(b'"cursor":"')[1].split(b'"')[0] for payload in (payloads[-1], delta))
    return [*payloads, payloads[-1].replace(old, new)]


def _after_terminal(payloads: list[bytes], delta: bytes) -> list[bytes]:
    return [*payloads, delta]


def _after_cancel(payloads: list[bytes], delta: bytes) -> list[bytes]:
    return [*payloads, delta] if b'"finish_reason":"cancelled"' in payloads[-1] else payloads


def _bad_hash(payloads: list[bytes], delta: bytes) -> list[bytes]:
    return [*payloads[:-1], payloads[-1].replace(b'"text_sha256":"', b'"text_sha256":"0')]


HUB, OUTBOX, PROTOCOL = "gateway.hub", "gateway.outbox", "gateway.protocol"
MUTATIONS: dict[str, tuple[str, Callable[[Any, Struck], None]]] = {
    "dropped_drain": (OUTBOX, dropped_drain),
    "crossed_session": (HUB, crossed_session),
    "silent_loss": (HUB, silent_loss),
    "false_loss": (HUB, false_loss),
    "leaked_descriptor": (HUB, leaked_descriptor),
    "altered_replay": ("gateway.paging", altered_replay),
    "no_terminal": (PROTOCOL, _of_terminals(_no_terminal)),
    "second_terminal": (PROTOCOL, _of_terminals(_second_terminal)),
    "after_terminal": (PROTOCOL, _of_terminals(_after_terminal)),
    "after_cancel": (PROTOCOL, _of_terminals(_after_cancel)),
    "bad_hash": (PROTOCOL, _of_terminals(_bad_hash)),
}
