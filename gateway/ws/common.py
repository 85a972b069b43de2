"""What is there once per server, for all its connections."""

from gateway.deadlines import Deadlines
from gateway.ws.keepalive import Keepalive


class Common:
    """What the connections of a server share. `max_size`: bytes of a message. `ping_interval`: seconds between two
    pings, and until a missing answer ends the connection. `close_timeout`: seconds for a client to answer a close, and
    to take what is unsent."""

    def __init__(self, max_size: int, ping_interval: float, close_timeout: float) -> None:
        self.max_size = max_size
        self.keepalive = Keepalive(ping_interval)
        self.closing = Deadlines(close_timeout)
