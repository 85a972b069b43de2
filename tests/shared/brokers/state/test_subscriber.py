"""What a gateway's drain is brought."""

from shared.brokers.state.session import Session
from shared.brokers.state.subscriber import Subscriber
from shared.messages import Item, Place
from tests.shared.brokers.state.builders import flush, reply, session


def linked() -> Subscriber:
    """One that has been told its first loss."""
    subscriber = Subscriber("g", 0.0, lambda _: None)
    subscriber.batch_now("e", 0.0)
    return subscriber


def offer(subscriber: Subscriber, chat: Session, *texts: str) -> Item:
    answer = reply(chat, chat.last + 1)
    made = chat.file(answer, flush(answer, 0, *texts))
    subscriber.offer(made)
    return made


def test_a_new_one_is_told_that_it_has_no_subscriptions() -> None:
    subscriber = Subscriber("g", 0.0, lambda _: None)
    batch = subscriber.batch("e", 0, 1.0)
    assert batch is not None
    assert (batch.epoch, batch.lost, batch.items, batch.places) == ("e", True, [], [])
    assert subscriber.batch("e", 0, 1.0) is None


def test_items_come_once_in_order() -> None:
    subscriber, chats = linked(), [session("s"), session("t")]
    items = [offer(subscriber, chats[number % 2], "text") for number in range(5)]
    assert subscriber.bytes == sum(len(item.events) for item in items)
    batch = subscriber.batch("e", 0, 9.0)
    assert batch is not None
    assert batch.items == items
    assert (subscriber.bytes, subscriber.seen_at) == (0, 9.0)
    assert subscriber.batch("e", 0, 9.0) is None


def test_an_outdated_drain_takes_nothing() -> None:
    subscriber = linked()
    made = offer(subscriber, session(), "text")
    subscriber.drains = 5
    batch = subscriber.batch("e", 4, 0.0)
    assert batch is not None
    assert (batch.lost, batch.items) == (False, [])
    assert subscriber.batch_now("e", 0.0).items == [made]


def test_subscribing_twice_is_one_subscription() -> None:
    subscriber, chat = linked(), session()
    subscriber.add(chat)
    subscriber.add(chat)
    assert chat.subscribers == (subscriber,)
    subscriber.remove(chat)
    subscriber.remove(chat)
    assert not chat.subscribers
    assert not subscriber.sessions


def test_losing_all_is_said_once_and_leaves_nothing() -> None:
    subscriber, chats = linked(), [session("s"), session("t")]
    for chat in chats:
        subscriber.add(chat)
        offer(subscriber, chat, "text")
        subscriber.places[chat.id] = Place(chat.id, "m1", 0)
    subscriber.drop_all()
    assert [chat.subscribers for chat in chats] == [(), ()]
    batch = subscriber.batch_now("e", 0.0)
    assert (batch.lost, batch.items, batch.places, subscriber.bytes) == (True, [], [], 0)
    assert subscriber.batch_now("e", 0.0).lost is False


def test_of_a_forgotten_session_nothing_is_brought() -> None:
    subscriber, gone, kept = linked(), session("gone"), session("kept")
    for chat in (gone, kept):
        subscriber.add(chat)
        subscriber.places[chat.id] = Place(chat.id, "m1", 0)
    offer(subscriber, gone, "text")
    good = offer(subscriber, kept, "text")
    subscriber.forget(gone)
    assert subscriber.bytes == len(good.events)
    batch = subscriber.batch_now("e", 0.0)
    assert batch.items == [good]
    assert [place.session for place in batch.places] == ["kept"]
    assert (gone.subscribers, kept.subscribers) == ((), (subscriber,))


def test_who_leaves_a_session_to_nobody_says_so() -> None:
    deserted: list[Session] = []
    one, other = (Subscriber(name, 0.0, deserted.append) for name in "ab")
    chats = [session(id) for id in "stuv"]
    for chat in chats:
        one.add(chat)
    other.add(chats[3])
    one.remove(chats[0])
    one.remove(chats[0])
    one.forget(chats[1])
    assert deserted == chats[:2]
    one.drop_all()
    assert deserted == chats[:3]
    other.remove(chats[3])
    assert deserted == chats
