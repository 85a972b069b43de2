"""Who goes next, and how many go before."""

from hypothesis import given
from hypothesis import strategies as st

from shared.brokers.state.queue import Queue
from shared.brokers.state.reply import Reply
from tests.shared.brokers.state.builders import reply, session


def fresh(queue: Queue, id: str, owner: str) -> Reply:
    made = reply(session(id, owner))
    queue.add(made)
    return made


def taken(queue: Queue) -> list[str]:
    order = []
    while (next := queue.take()) is not None:
        order.append(next.session.id)
        assert queue.bytes == len(b"request") * len(queue)
    return order


def test_owners_take_turns_and_each_line_keeps_its_order() -> None:
    queue = Queue()
    for id in ("a1", "a2", "a3", "b1", "c1", "c2"):
        fresh(queue, id, id[0])
    assert [reply.session.id for reply in queue.in_order()] == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert taken(queue) == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert len(queue) == 0


def test_a_newcomer_does_not_wait_for_the_whole_line_of_another() -> None:
    queue = Queue()
    for number in range(100):
        fresh(queue, f"a{number}", "a")
    queue.take()
    fresh(queue, "b", "b")
    assert [queue.take().session.id for _ in range(2)] == ["a1", "b"]  # type: ignore[union-attr]


def test_retries_go_before_everything_in_their_order() -> None:
    queue = Queue()
    fresh(queue, "a", "a")
    for id in ("r1", "r2"):
        queue.add_again(reply(session(id, "z")), suspect=False)
    assert taken(queue) == ["r1", "r2", "a"]


def test_suspects_wait_apart() -> None:
    queue = Queue()
    suspect = reply(session("poison"))
    queue.add_again(suspect, suspect=True)
    assert (len(queue), queue.suspects, queue.bytes) == (1, 1, 7)
    assert queue.take() is None
    assert queue.take_suspect() is suspect
    assert queue.take_suspect() is None
    assert (len(queue), queue.suspects, queue.bytes) == (0, 0, 0)


def test_any_can_be_taken_out() -> None:
    queue = Queue()
    replies = [fresh(queue, id, id[0]) for id in ("a1", "a2", "b1")]
    replies += [reply(session("r", "z")), reply(session("p", "z"))]
    queue.add_again(replies[3], suspect=False)
    queue.add_again(replies[4], suspect=True)
    for number, gone in enumerate(replies, 1):
        queue.remove(gone)
        assert gone not in list(queue.in_order())
        assert len(queue) == len(replies) - number
        assert queue.bytes == len(b"request") * len(queue)
    fresh(queue, "a3", "a")
    assert taken(queue) == ["a3"]


owners = st.lists(st.sampled_from("abc"), min_size=1, max_size=12)


@given(owners, st.integers(0, 5), st.integers(0, 2))
def test_a_place_is_the_number_that_are_taken_before(lines: list[str], takes: int, retries: int) -> None:
    queue = Queue()
    last = None
    for number, owner in enumerate(lines):
        if number < takes:
            queue.take()
        last = fresh(queue, f"{owner}{number}", owner)
        assert queue.place_of_last(owner) == queue.place(last)
    for number in range(retries):
        queue.add_again(reply(session(f"r{number}", "z")), suspect=False)
    assert last is not None
    expected = queue.place(last)
    order = [waiting.session.id for waiting in queue.in_order()]
    assert order[expected] == last.session.id
    assert taken(queue) == order
