"""The scenario `leaks`: small; with a service that keeps what it should not; and its figures alone."""

import re
from collections import Counter

import pytest

from tests.chaos.leftovers import COUNTED, Leftovers, Life
from tests.chaos.scenarios.leaks import BOUNDS, figures
from tests.chaos.test_command import chaos
from tests.conftest import require
from tests.redis_server import NEEDED, program

pytestmark = pytest.mark.timeout(300)
SMALL = ("--scenario", "leaks", "--size", "400", "--broker")  # fewer, and a kill may find nothing to hit


def held(out: str) -> dict[str, bool]:
    """Which figures held."""
    return {name: how == "holds" for how, name in re.findall(r"^  (holds|DOES NOT HOLD) +(\w+): ", out, re.MULTILINE)}


@pytest.mark.slow
def test_nothing_is_left_in_redis_nor_in_any_process() -> None:
    require(program(), NEEDED)
    ended = chaos(*SMALL, "redis")
    assert ended.status == 0, ended.out + ended.error
    assert {"keys", "sessions", "fds", "threads", "tasks", "blocks", "rss"} <= held(ended.out).keys()
    keys = re.search(r"keys: (\d+) keys in Redis, (\d+) at the base line", ended.out)
    assert keys is not None
    assert int(keys[1]) == int(keys[2]) > 0


@pytest.mark.slow
@pytest.mark.parametrize(("mutation", "noticed"), [("forgotten_reply", "keys"), ("leaked_descriptor", "fds")])
def test_what_is_kept_is_noticed(mutation: str, noticed: str) -> None:
    require(program(), NEEDED)
    ended = chaos(*SMALL, "redis", CHAOS_MUTATION=mutation)
    assert ended.status == 1
    assert not held(ended.out)[noticed]
    assert held(ended.out)["whole"]


LIFE = Life("gateway", "gateway-0", 7)
OTHER = Life("gateway", "gateway-1", 8)
AT_REST = dict.fromkeys(COUNTED, 100)


def left(keys: int = 9, sessions: int = 0, **grown: int) -> Leftovers:
    """What a second look would find."""
    processes = {LIFE: {name: 100 + grown.get(name, 0) for name in COUNTED}, OTHER._replace(pid=9): AT_REST}
    return Leftovers(processes, Counter({"s:": keys}), {"sessions": sessions})


BASE = Leftovers({LIFE: AT_REST, OTHER: AT_REST}, Counter({"s:": 9}), {"sessions": 0})


def failing(found: Leftovers) -> set[str]:
    """The names of the figures that do not hold."""
    return {figure.name for figure in figures(BASE, found) if not figure.holds}


def test_all_is_well_at_the_base_line_and_up_to_each_bound() -> None:
    assert failing(left()) == set()
    assert failing(left(keys=8, **BOUNDS)) == set()
    assert left().same(BASE) == [LIFE]


@pytest.mark.parametrize("what", COUNTED)
def test_growth_beyond_a_bound_is_seen_and_shown(what: str) -> None:
    found = left(**{what: BOUNDS[what] + 1})
    assert failing(found) == {what}
    words = next(figure.words for figure in figures(BASE, found) if figure.name == what)
    assert f"gateway-0 100 to {101 + BOUNDS[what]:,}" in words


def test_a_key_and_a_session_that_stay_are_seen() -> None:
    assert failing(left(keys=10)) == {"keys"}
    assert failing(left(sessions=1)) == {"sessions"}


def test_a_key_of_another_kind_is_seen_though_another_one_went() -> None:
    found = left(keys=8)
    found.keys["x:"] += 1
    assert failing(found) == {"keys"}
