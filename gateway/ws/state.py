"""How far a connection is."""

from enum import IntEnum


class State(IntEnum):
    """In this order; some may be left out."""

    CONNECTING = 0  # the endpoint has to decide
    REFUSING = 1  # it answers by an HTTP response
    OPEN = 2
    CLOSING = 3  # we have said goodbye and wait for the client's answer
    DEAF = 4  # and will not understand it: whatever comes is thrown away
    ENDED = 5  # there is nothing to wait for but the last bytes on their way
