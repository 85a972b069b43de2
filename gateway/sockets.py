"""The listening sockets. They are bound before anything else starts: a taken port is found out at once."""

import errno
import resource
import socket
from collections.abc import Iterable
from contextlib import suppress

BACKLOG = 4096  # connections that the kernel keeps while the event loop is busy; it cuts this down to its own limit
LOOPBACK: list[tuple[int, str]] = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
_NO_SUCH_FAMILY = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_PORT_0_TRIES = 5


class CannotListen(Exception):
    """The address cannot be had. The message is one line for the person who started us."""


def listen(host: str | None, port: int) -> list[socket.socket]:
    """Listening sockets, one per address of `host`; None means both loopback addresses, as far as the machine has
    them. Port 0 takes a free one, the same for all. Raises CannotListen."""
    for attempt in range(_PORT_0_TRIES):
        try:
            return _listen(host, port)
        except OSError as error:
            if port != 0 or error.errno != errno.EADDRINUSE or attempt == _PORT_0_TRIES - 1:
                raise CannotListen(_explain(error, host, port)) from error
    raise AssertionError("unreachable")


def port_of(sockets: Iterable[socket.socket]) -> int:
    """The port that they share."""
    return int(next(iter(sockets)).getsockname()[1])


def addresses(sockets: Iterable[socket.socket]) -> list[str]:
    """Where they listen, as one would type it into a browser."""
    pairs = [one.getsockname()[:2] for one in sockets]
    return [f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}" for host, port in pairs]


def raise_descriptor_limit() -> None:
    """A connection is a descriptor: take as many as the machine's owner lets us."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(ValueError, OSError):  # some systems refuse "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _listen(host: str | None, port: int) -> list[socket.socket]:
    bound: list[socket.socket] = []
    missing: list[OSError] = []
    try:
        for family, address in _resolve(host, port):
            try:
                bound.append(_bind(family, address, port_of(bound) if bound else port))
            except OSError as error:
                if error.errno not in _NO_SUCH_FAMILY:
                    raise
                missing.append(error)
    except OSError:
        for one in bound:
            one.close()
        raise
    if not bound:
        raise missing[0]
    return bound


def _resolve(host: str | None, port: int) -> list[tuple[int, str]]:
    """Families and addresses without repetition, in the resolver's order."""
    if host is None:
        return LOOPBACK
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError(errno.EINVAL, "this is not a host's name") from None
    return list(dict.fromkeys((int(family), str(address[0])) for family, _, _, _, address in found))


def _bind(family: int, address: str, port: int) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for old connections
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        one.bind((address, port))
        one.listen(BACKLOG)
        one.setblocking(False)
    except OSError:
        one.close()
        raise
    return one


def _explain(error: OSError, host: str | None, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is already in use: another gateway? Choose another one with --port or LLM_CHAT_PORT."
    where = f"port {port}" if host is None else f"{host}, port {port}"
    return f"cannot listen on {where}: {error.strerror or error}"
