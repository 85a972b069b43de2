"""When the journal is filed."""

from shared.store.filing import LATEST, MOST, REST, Filing


def filed() -> Filing:
    filing = Filing(0.0)
    filing.done()
    return filing


def test_what_another_process_left_is_looked_for_soon() -> None:
    assert Filing(100.0).due_at == 100.0 + REST


def test_where_nothing_was_written_nothing_is_due() -> None:
    assert filed().due_at is None


def test_it_waits_for_a_rest() -> None:
    filing = filed()
    for tenth in range(20):
        filing.wrote(100, tenth / 10)

    assert filing.due_at == 1.9 + REST


def test_it_does_not_wait_for_long() -> None:
    filing = filed()
    for second in range(100):
        filing.wrote(100, 7.0 + second / 2)

    assert filing.due_at == 7.0 + LATEST


def test_much_does_not_wait() -> None:
    filing = filed()
    filing.wrote(10, 7.0)
    filing.wrote(MOST, 8.0)

    assert filing.due_at is not None
    assert filing.due_at <= 8.0


def test_a_failure_is_not_repeated_at_once() -> None:
    filing = filed()
    filing.wrote(2 * MOST, 7.0)
    filing.failed(20.0)

    assert filing.due_at is not None
    assert filing.due_at > 20.0


def test_what_is_written_behind_the_end_counts_anew() -> None:
    filing = filed()
    filing.wrote(100, 0.0)
    filing.done()
    filing.wrote(100, 50.0)

    assert filing.due_at == 50.0 + REST
