"""The embedded broker: one BrokerState in a process of its own, served by multiprocessing's BaseManager on a Unix
socket.

`home.py` says where it lives, `server.py` is that process (`python -m shared.brokers.manager`), `daemon.py` starts
it, `wire.py` and `link.py` are the other end: an event loop that speaks the manager's wire format without threads.
"""

from shared.brokers.manager.home import Home
from shared.brokers.manager.link import ManagerLink

__all__ = ["Home", "ManagerLink"]
