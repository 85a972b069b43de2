"""The broker's logic as a pure state machine: no I/O, no threads, no waiting, the clock handed in.

`machine.py` holds the transitions; each other module is one noun that they work on.
"""

from shared.brokers.state.limits import Limits
from shared.brokers.state.machine import BrokerState

__all__ = ["BrokerState", "Limits"]
