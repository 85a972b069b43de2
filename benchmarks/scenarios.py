"""What is asked of every server. Connections, intervals and rates are those of the goals (figures.py) where there is
one; a reply has five chunks, the first of them at once."""

from typing import NamedTuple

from benchmarks.generator import Part

CHUNKS = 5
COARSE = ("rest", "1ms")  # where costs are asked for and not latencies: the load costs less, but stamps 1 ms coarsely
OTHERS = ("ours-stock", "socketio", "channels", "centrifuge")


class Scenario(NamedTuple):
    """`interval`: seconds between two chunks. `asks`: whether replies are asked for, so that chunks can be counted.
    `latencies`: whether the load is open, so that its latencies are free of coordinated omission."""

    name: str
    words: str
    interval: float
    parts: tuple[Part, ...]
    seconds: float
    asks: bool = True
    latencies: bool = False
    idles: float = 0.0  # seconds to look at the connections before they are used,
    rests: float = 0.0  # and to wait before that: pings begin 20 s behind the handshake
    others: tuple[str, ...] = ()  # peers besides ours and Go's


def closed(connections: int, interval: float, seconds: float, think: float = 0.0) -> Part:
    """Each connection asks again when it has its reply (and has thought). They begin spread over a reply's time."""
    spread = interval * (CHUNKS - 1) + think
    options = (("seconds", f"{seconds}s"), ("spread", f"{spread}s"), ("think", f"{think}s"), ("sources", "4"))
    return Part(connections, options if interval == 0 else (*options, COARSE))


def poisson(connections: int, rate: float, seconds: float) -> Part:
    """Messages at random moments, whatever has become of those before."""
    return Part(connections, (("seconds", f"{seconds}s"), ("rate", str(rate)), ("sources", "4")))


def storm(connections: int, rate: float) -> Part:
    """Connections at this rate, as the load itself."""
    return Part(connections, (("late", "1"), ("connect-rate", str(rate)), ("sources", "4")))


def stalled(connections: int, rate: float, seconds: float) -> Part:
    """Readers that ask for much (4 KB, five times over) and read nothing."""
    options = (("stalled", "1"), ("size", "4000"), ("rate", str(rate)), ("seconds", f"{seconds}s"))
    return Part(connections, options)


def _all(seconds: float, scale: float) -> list[Scenario]:
    def some(connections: int) -> int:
        return max(1, round(connections * scale))

    def often(rate: float) -> float:
        return rate * scale

    calm = poisson(some(400), often(1200), seconds)
    once = (("rate", str(often(2000))), ("messages", str(some(5000))), ("seconds", "60s"), ("sources", "4"))
    return [
        Scenario(
            "paced",
            "2,000 connections, a chunk every 50 ms, each asks again at once",
            0.05,
            (closed(some(2000), 0.05, seconds),),
            seconds,
            others=OTHERS,
        ),
        Scenario(
            "burst",
            "200 connections, chunks without pause, each asks again at once: the machine is full",
            0.0,
            (closed(some(200), 0.0, seconds),),
            seconds,
            others=("naive",),
        ),
        Scenario(
            "wide",
            "5,000 connections, a chunk every 200 ms, each asks again at once",
            0.2,
            (closed(some(5000), 0.2, seconds),),
            seconds,
        ),
        Scenario(
            "light",
            "2,000 connections, a chunk every 50 ms, a second of thinking before each message",
            0.05,
            (closed(some(2000), 0.05, seconds, think=1.0),),
            seconds,
        ),
        Scenario(
            "calm",
            "400 connections, a chunk every 50 ms, 1,200 messages per second at random moments",
            0.05,
            (calm,),
            seconds,
            latencies=True,
            others=OTHERS,
        ),
        Scenario(
            "tokens",
            "2,000 connections, 30 chunks per second each, 2,500 messages per second at random moments",
            1 / 30,
            (poisson(some(2000), often(2500), seconds),),
            seconds,
            latencies=True,
        ),
        Scenario(
            "idle",
            "5,000 connections that wait; then each is asked for one reply, and waits again",
            0.05,
            (Part(some(5000), once),),
            seconds,
            idles=4.0,
            others=OTHERS,
        ),
        Scenario(
            "storm",
            "5,000 connections at 1,500 per second",
            0.05,
            (storm(some(5000), often(1500)),),
            seconds,
            asks=False,
        ),
        Scenario(
            "stalled",
            "as calm, beside 100 that ask for 20 KB ten times a second each and read nothing",
            0.05,
            (calm, stalled(some(100), often(1000), seconds)),
            seconds,
            latencies=True,
        ),
        Scenario(
            "wall",
            "20 connections, a chunk every 200 ms: how long a reply takes, and how long its engine alone",
            0.2,
            (Part(some(20), (("seconds", f"{seconds}s"), ("spread", "0.8s"))),),
            seconds,
        ),
        Scenario(
            "mixed",
            "all at once: 2,000 idle, 500 asking without pause, 500 messages per second at random on 500, 500 new "
            "connections, 20 that read nothing; 30 chunks per second each",
            1 / 30,
            (
                Part(some(2000), (("seconds", f"{seconds}s"), ("rate", "0.001"), ("sources", "4"))),
                closed(some(500), 1 / 30, seconds),
                poisson(some(500), often(500), seconds),
                storm(some(500), often(500) / seconds),
                stalled(some(20), often(100), seconds),
            ),
            seconds,
        ),
    ]


def curve(connections: int) -> Scenario:
    """So many sessions, opened as fast as it goes; then 2,000 replies per second, until each has had one."""
    messages, sources = max(connections, 20_000), min(250, connections // 20_000 + 4)  # 28,000 ports per address
    seconds = 60 + messages // 2000
    options = (
        ("rate", "2000"),
        ("messages", str(messages)),
        ("seconds", f"{seconds}s"),
        ("sources", str(sources)),
    )
    words = f"{connections:,} sessions, 2,000 messages per second at random moments, a chunk every 50 ms"
    return Scenario(f"curve-{connections}", words, 0.05, (Part(connections, options),), seconds, idles=5.0, rests=20.0)


def scenarios(seconds: float, scale: float = 1.0) -> dict[str, Scenario]:
    """All of them; `scale` multiplies connections and rates, for trying out."""
    return {scenario.name: scenario for scenario in _all(seconds, scale)}
