"""Who talks in a run of the whole command, how many, and what they say."""

from collections.abc import Sequence

from tests.chaos.clients.canceller import Canceller
from tests.chaos.clients.deaf import PADDING, DeafClient
from tests.chaos.clients.hall import Hall
from tests.chaos.clients.json_client import JsonClient
from tests.chaos.clients.plain_client import PlainClient
from tests.chaos.clients.reconnecting import ReconnectingClient
from tests.chaos.stage import Client

CHUNKS = 20
INTERVAL = 0.1  # seconds
SETTINGS = {
    "LLM_CHAT_ECHO_CHUNKS": str(CHUNKS),
    "LLM_CHAT_ECHO_INTERVAL": str(INTERVAL),
    "LLM_CHAT_GATEWAY_PING_INTERVAL": "3",  # so that a half-open connection is found out within the run
}
SHARES = ((PlainClient, 0.2), (ReconnectingClient, 0.12), (Canceller, 0.15), (DeafClient, 0.04))  # the rest: JsonClient


def make_clients(hall: Hall, number: int) -> Sequence[Client]:
    """So many of all sorts, at least one of each."""
    counts = {sort: max(1, round(number * share)) for sort, share in SHARES}
    clients: list[Client] = [sort(hall, index) for sort, count in counts.items() for index in range(count)]
    return [*clients, *(JsonClient(hall, index) for index in range(max(1, number - len(clients))))]


def in_words(clients: Sequence[Client]) -> str:
    """What the load is, for the head of the scorecard."""
    count = {sort: sum(type(one) is sort for one in clients) for sort in (JsonClient, *(sort for sort, _ in SHARES))}
    seconds = (CHUNKS - 1) * INTERVAL
    return (
        f"{len(clients)} sessions, each with one reply at a time and 0.1 to 0.6 s between two: {count[JsonClient]} "
        f"JSON clients, {count[PlainClient]} plain ones, {count[ReconnectingClient]} that reconnect after 1 to 12 "
        f"events, {count[Canceller]} that cancel 80 % of their replies, {count[DeafClient]} with pieces of {PADDING:,} "
        f"bytes that can stop reading. A reply has {CHUNKS} chunks, one every {INTERVAL} s ({seconds:.1f} s in all): "
        f"about {len(clients) / INTERVAL * seconds / (seconds + 0.35):,.0f} chunks a second."
    )
