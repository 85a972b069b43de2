"""Responses that were begun before, on whatever gateway: found in the broker while it keeps them, else in the store."""

from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import NamedTuple

import msgspec

from gateway.hub import Hub
from gateway.openai.problem import INVALID, Problem, Refused, lost
from gateway.openai.response import Head, Outcome
from gateway.openai.response_id import ResponseId
from gateway.openai.response_reply import ResponseWhole, end_of
from shared.broker import GatewayBroker
from shared.errors import SessionNotFound, UnknownId
from shared.messages import Recalled, decode_events
from shared.request import Turn, decode_request
from shared.store import Store, StoredTurn

PAGE_BYTES = 256 << 10


class Meta(msgspec.Struct):
    """What is kept with a message of ours; see gateway.dialect.Ask. One that is `deleted` is not found any more, but
    what was said is part of what followed."""

    response: Head | None = None
    deleted: bool = False


_decode_note = msgspec.json.Decoder(Meta).decode


def meta_of(head: Head, *, deleted: bool = False) -> dict[str, object]:
    """A Meta, as JSON."""
    meta: dict[str, object] = msgspec.to_builtins(Meta(head, deleted))
    return meta


class Found(NamedTuple):
    """A response: in the broker (`recalled`), else in the store (`stored`)."""

    id: ResponseId
    head: Head
    recalled: Recalled | None
    stored: StoredTurn | None = None


class Archive:
    """Finds what belongs to a caller; of all else it says that it does not exist."""

    def __init__(self, hub: Hub, broker: GatewayBroker, store: Store | None) -> None:
        self._hub = hub
        self._broker = broker
        self._store = store

    async def find(self, text: str, owner: str) -> Found:
        """By the id as the client has it. Raises Refused where there is none, or none any more."""
        try:
            id = ResponseId.parse(text)
        except ValueError:
            raise not_found(text) from None
        found = await self._recall(id, owner) or await self._look_up(id, owner)
        if found is None:
            raise not_found(text)
        return found

    async def outcome(self, found: Found) -> Outcome:
        """How far it is now."""
        if found.recalled is None:
            return _stored_outcome(found.stored)
        form = ResponseWhole()
        after, more = found.recalled.before, True
        while more and not form.ended:
            page = await self._broker.read(found.id.session, after, PAGE_BYTES)
            if not page.recovered:
                raise not_found(str(found.id))
            for item in page.items:
                if item.id == found.id.message:
                    for event in decode_events(item.events):
                        form.event(event)
                after = item.cursor
            more = page.more
        return form.outcome

    async def conversation(self, found: Found) -> tuple[Turn, ...]:
        """All that was said up to this response's end. Raises Refused where it has not ended."""
        outcome = await self.outcome(found)
        if outcome.status in ("queued", "in_progress"):
            sentence = "The previous response is still being generated; ask again when it has ended."
            param = "previous_response_id"
            raise Refused(Problem(409, sentence, INVALID, param, "previous_response_not_finished", True))
        reply = (Turn("assistant", outcome.text),) if outcome.text else ()
        return (*await self._before(found), *found.head.input, *reply)

    async def is_last(self, found: Found) -> bool:
        """Whether its session ends with it."""
        if found.recalled is not None:
            return found.recalled.last
        assert self._store is not None
        turns = await self._store.turns(found.id.session)
        return bool(turns) and turns[-1].question.id == found.id.message

    async def alone(self, found: Found) -> bool:
        """Whether its session holds nothing else."""
        recalled = found.recalled
        if recalled is not None and (recalled.before is not None or not recalled.last):
            return False
        return self._store is None or len(await self._store.turns(found.id.session)) <= 1

    async def delete(self, found: Found) -> None:
        """End its being found. Alone in its session it goes with that; otherwise the session keeps what was said."""
        session, message = found.id
        if await self.alone(found):
            if self._store is not None and found.head.store:
                await _unless_gone(self._store.delete(session))
            await self._hub.deletions.forget(session)
            return
        if self._store is not None:
            await _unless_gone(self._store.annotate(session, message, meta_of(found.head, deleted=True)))
        if found.recalled is not None:
            await _unless_gone(self._broker.annotate(session, message, b""))

    async def _recall(self, id: ResponseId, owner: str) -> Found | None:
        try:
            recalled = await self._broker.recall(id.session, id.message)
        except (SessionNotFound, UnknownId):
            return None
        head = _decode_note(recalled.note).response
        return Found(id, head, recalled) if head is not None and recalled.owner == owner else None

    async def _look_up(self, id: ResponseId, owner: str) -> Found | None:
        if self._store is None:
            return None
        turn = await self._store.turn(*id)
        if turn is None or (await self._store.session(id.session)).owner != owner:
            return None
        meta = _meta_in(turn)
        return None if meta.response is None or meta.deleted else Found(id, meta.response, None, turn)

    async def _before(self, found: Found) -> tuple[Turn, ...]:
        """The conversation that went before its input."""
        head, recalled = found.head, found.recalled
        if recalled is not None:
            turns = decode_request(recalled.request).turns
            return turns[1 if head.instructions else 0 : len(turns) - len(head.input)]
        return await self._before_in_store(found)

    async def _before_in_store(self, found: Found) -> tuple[Turn, ...]:
        """From answer to question, back to where the session began."""
        assert self._store is not None
        turns = {turn.question.id: turn for turn in await self._store.turns(found.id.session)}
        said: tuple[Turn, ...] = ()
        head = found.head
        while (earlier := _earlier(head, found.id.session, turns)) is not None:
            previous = _meta_in(earlier).response
            if previous is None:
                break
            text = "" if earlier.answer is None else earlier.answer.text
            said = (*previous.input, *((Turn("assistant", text),) if text else ()), *said)
            head = previous
        return (*head.before, *said)


def not_found(text: str) -> Refused:
    """The response is not there for this caller."""
    sentence = f"Response with id {text[:256]!r} not found; it may have expired."
    return Refused(Problem(404, sentence, INVALID, None, "response_not_found"))


def previous_not_found(text: str) -> Refused:
    """The same, where it was to be continued."""
    sentence = f"Previous response with id {text[:256]!r} not found, or not kept any more; send the whole conversation."
    return Refused(Problem(400, sentence, INVALID, "previous_response_id", "previous_response_not_found"))


def _stored_outcome(turn: StoredTurn | None) -> Outcome:
    """What is open in the store, but unknown to the broker, will never end."""
    if turn is None or turn.answer is None:
        return Outcome("failed", error=lost())
    return end_of(turn.answer.end, turn.answer.text)


def _meta_in(turn: StoredTurn) -> Meta:
    try:
        return msgspec.convert(turn.question.meta, Meta)
    except msgspec.ValidationError:  # another interface's
        return Meta()


def _earlier(head: Head, session: str, turns: Mapping[str, StoredTurn]) -> StoredTurn | None:
    """The turn that it continues, where that is in the same session."""
    try:
        previous = ResponseId.parse(head.previous or "")
    except ValueError:
        return None
    return turns.get(previous.message) if previous.session == session else None


async def _unless_gone(work: Awaitable[None]) -> None:
    with suppress(SessionNotFound, UnknownId):
        await work
