"""10,000 replies while gateways, workers and engine processes are killed at random; when retention has passed nothing
is left of them: no key in Redis, and no descriptor, thread, task or memory in any process that lived through it."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, cycle

from tests.chaos.checker import Verdict
from tests.chaos.clients.hall import Hall
from tests.chaos.clients.json_client import Habits, JsonClient
from tests.chaos.figure import Figure
from tests.chaos.leftovers import Leftovers, look
from tests.chaos.options import Options
from tests.chaos.scenarios.scenario import Scenario, Striker, exactly, settings, struck
from tests.chaos.stage import Stage

SEATS = 80  # clients at a time, at most
TURNS = 25  # replies that each of few has
MESSAGES = 5  # of each session
EVERY = 2.0  # seconds
RETENTION = 10.0  # seconds
SILENCE = 12.0  # seconds until the broker takes a gateway or worker of which it hears nothing for dead, and tidies up
REST = 6 * RETENTION + 10  # seconds: a dead gateway's sessions are kept once more, and an idle broker looks seldom
LOOK = 2.0  # seconds
# The first gateway and the first worker live through it all, and so do the broker and the second worker's supervisor.
KILLS = {"gateway_kill": (1, 2), "worker_kill": (2,), "engine_kill": (1,)}
SAME = 5  # they, and the first worker's engine process
BOUNDS = {"fds": 0, "threads": 0, "tasks": 0, "blocks": 3_000, "rss": 3_000_000}
WORDS = {
    "fds": "descriptors",
    "threads": "threads",
    "tasks": "tasks",
    "blocks": "blocks of memory in Python",
    "rss": "resident bytes",
}


class Seat:
    """Its clients come one after the other, each with a session of its own, until so many replies are asked for."""

    def __init__(self, hall: Hall, numbers: Iterator[int], replies: int) -> None:
        self.name = f"seat for {replies}"
        self.ends = Counter[str]()
        self._hall = hall
        self._numbers = numbers
        self._replies = replies

    async def run(self) -> None:
        """See stage.Client."""
        for begun in range(0, self._replies, MESSAGES):
            habits = Habits(pause=(0.1, 0.4), messages=min(MESSAGES, self._replies - begun), replays=0)
            client = JsonClient(self._hall, next(self._numbers), habits)
            await client.run()
            for end in client.ended.values():
                self.ends[end["finish_reason"] if end["type"] == "done" else end["code"]] += 1


async def play(stage: Stage, options: Options, size: int) -> Sequence[Figure]:
    """A fifth as many replies first, and a kill of each sort: what a process takes once and keeps is no leak."""
    numbers = count()
    await _load(stage, numbers, -(-size // 5), ((name, victims[0]) for name, victims in KILLS.items()))
    base = await _rested(stage)
    ends = await _load(stage, numbers, size, _at_random(stage))
    left = await _rested(stage, base)
    return [
        exactly("whole", "replies ended whole", ends["stop"], size),
        exactly("same", "processes lived through it all", len(left.same(base)), SAME),
        *figures(base, left),
    ]


def _at_random(stage: Stage) -> Iterator[tuple[str, int]]:
    """Each sort comes in its turn, whom it strikes is chance."""
    chance = stage.hall.chance("kills")
    for name in cycle(KILLS):
        yield name, chance.choice(KILLS[name])


async def _load(stage: Stage, numbers: Iterator[int], replies: int, kills: Iterable[tuple[str, int]]) -> Counter[str]:
    """So many replies, with these kills for as long as they last; returns how they ended."""
    seats = min(SEATS, -(-replies // TURNS))
    shares = [replies // seats + (number < replies % seats) for number in range(seats)]
    taken = [Seat(stage.hall, numbers, share) for share in shares]
    stage.admit(taken)
    talk, striker, loop = asyncio.ensure_future(stage.all_said()), Striker(stage), asyncio.get_running_loop()
    for name, victim in kills:
        due = loop.time() + EVERY
        await striker.strike(name, victim)
        await asyncio.wait([talk], timeout=max(0.0, due - loop.time()))
        if talk.done():
            break
    await talk
    return sum((seat.ends for seat in taken), Counter[str]())


async def _rested(stage: Stage, base: Leftovers | None = None) -> Leftovers:
    """When retention has passed: as soon as the broker has no session and, with a base line, all is back at it; or
    when REST is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + REST
    await asyncio.sleep(RETENTION + SILENCE)
    while True:
        left = await look(stage)
        back = left.stats.get("sessions") == 0 and (base is None or all(one.holds for one in figures(base, left)))
        if back or loop.time() > deadline:
            return left
        await asyncio.sleep(LOOK)


def figures(base: Leftovers, left: Leftovers) -> Sequence[Figure]:
    """What is left, beside the base line."""
    keys, more = left.keys.total(), left.more_keys(base)
    kinds = ", ".join(f"{number} {kind}" for kind, number in more.most_common(5)) or "no kind has more"
    words = f"{keys:,} keys in Redis, {base.keys.total():,} at the base line ({kinds}), no more may be"
    sessions = left.stats.get("sessions", -1)
    return [
        Figure("keys", words, keys <= base.keys.total() and not more),
        exactly("sessions", "sessions in the broker", sessions, 0),
        *(_grown(base, left, what, bound) for what, bound in BOUNDS.items()),
    ]


def _grown(base: Leftovers, left: Leftovers, what: str, bound: int) -> Figure:
    """The most of all processes, and what each has."""
    worst = max((left.grown(base, what)[life] for life in left.same(base, what)), default=0)
    return Figure(
        what,
        f"{WORDS[what]} beyond the base line {worst:,}, at most {bound:,} ({left.in_words(base, what)})",
        worst <= bound,
    )


def weigh(verdict: Verdict, size: int) -> Sequence[Figure]:
    """Each sort must have struck."""
    return [struck(verdict, name, 1) for name in KILLS]


SCENARIO = Scenario(
    "replies under random kills, and what is left of them",
    10_000,
    settings(5, 0.1, LLM_CHAT_REPLY_RETENTION=str(RETENTION)),
    play,
    weigh,
    gateways=3,
    workers=3,
    direct=True,
)
