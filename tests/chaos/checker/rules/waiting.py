"""Nobody waits for ever."""

from collections.abc import Iterator

from tests.chaos.checker.evidence import Evidence
from tests.chaos.checker.record import Record
from tests.chaos.checker.violation import Violation


def no_hang(evidence: Evidence) -> Iterator[Violation]:
    """A client gives up on a message only where its loss was said; a JSON client knows an end for every one it sent.

    What a plain client may still have to wait for is a matter of `plain_order`.
    """
    for client, records in evidence.clients.items():
        sent: dict[str, Record] = {}
        for record in records:
            if record.what == "sent" and record["frame"].get("type") == "message":
                sent.setdefault(str(record["frame"]["id"]), record)
        ends = {str(record["id"]) for record in records if record.what == "done"}
        for record in records:
            if record.what == "gave_up" and str(record["id"]) not in ends:
                ends.add(str(record["id"]))
                yield from _gave_up(evidence, client, sent, record)
        plain = {connection.client for connection in evidence.plain}
        for id in sent.keys() - ends if client not in plain else ():
            yield Violation("no_hang", f"{client}/{id}", "its client's record ends before its wait did", (sent[id],))


def _gave_up(evidence: Evidence, client: str, sent: dict[str, Record], record: Record) -> Iterator[Violation]:
    id = str(record["id"])
    since = sent[id].t if id in sent else record.t
    if not _said(evidence, client, id, since):
        sentence = f"gave up after {record.get('after_seconds')} s: {record.get('why', '')}"
        yield Violation("no_hang", f"{client}/{id}", sentence, (record,))


def _said(evidence: Evidence, client: str, id: str, since: float) -> bool:
    """Whether the client was told that the message is lost."""
    for session in evidence.sessions:
        ask = session.asks.get(id)
        if ask is not None and ask.client == client and session.loss_behind(since, id) is not None:
            return True
    plain = [connection for connection in evidence.plain if connection.client == client]
    return any(record.t >= since for connection in plain for record in connection.losses)
