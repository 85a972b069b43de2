import asyncio
import errno
import resource
import socket
from collections.abc import Iterator

import pytest

from gateway import sockets
from gateway.sockets import CannotListen, addresses, listen, port_of


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    """Closes what a test opens."""
    found: list[socket.socket] = []
    yield found
    for one in found:
        one.close()


def test_by_default_both_loopback_addresses_listen_on_one_port(opened: list[socket.socket]) -> None:
    opened += listen(None, 0)

    assert [one.getsockname()[0] for one in opened] == ["127.0.0.1", "::1"]
    assert {one.getsockname()[1] for one in opened} == {port_of(opened)}
    for host in ("127.0.0.1", "::1"):
        socket.create_connection((host, port_of(opened))).close()


def test_without_ipv6_the_other_address_is_enough(opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    bind = sockets._bind

    def bind_ipv4_only(family: int, address: str, port: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return bind(family, address, port)

    monkeypatch.setattr(sockets, "_bind", bind_ipv4_only)
    opened += listen(None, 0)

    assert [one.getsockname()[0] for one in opened] == ["127.0.0.1"]


def test_an_address_that_the_machine_does_not_have_is_said_in_one_line() -> None:
    with pytest.raises(CannotListen, match=r"^cannot listen on 192\.0\.2\.1, port 0: [^\n]+$"):
        listen("192.0.2.1", 0)


def test_a_host_that_does_not_exist_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(CannotListen, match=r"^cannot listen on nowhere\.invalid, port 8080: [^\n]+$"):
        listen("nowhere.invalid", 8080)


def test_a_host_that_is_no_name_at_all_is_said_in_one_line() -> None:
    with pytest.raises(CannotListen, match=r"^cannot listen on a\.\.b, port 8080: [^\n]+$"):
        listen("a..b", 8080)


@pytest.mark.parametrize("taken", ["127.0.0.1", "::1"])
def test_a_taken_port_is_named_and_nothing_stays_open(taken: str, opened: list[socket.socket]) -> None:
    opened += listen(taken, 0)
    port = port_of(opened)

    with pytest.raises(CannotListen, match=rf"^port {port} is already in use: [^\n]+$"):
        listen(None, port)

    other = "::1" if taken == "127.0.0.1" else "127.0.0.1"
    opened += listen(other, port)  # the half that was free is free again


def test_a_restart_need_not_wait_for_the_connections_of_the_last_run(opened: list[socket.socket]) -> None:
    first = listen("127.0.0.1", 0)
    port = port_of(first)
    client = socket.create_connection(("127.0.0.1", port))
    first[0].setblocking(True)
    served, _ = first[0].accept()
    served.close()  # the server's end goes first and stays in TIME_WAIT
    client.close()
    first[0].close()

    opened += listen("127.0.0.1", port)

    assert port_of(opened) == port


def test_the_sockets_do_not_block_and_are_not_inherited_by_chance(opened: list[socket.socket]) -> None:
    opened += listen(None, 0)

    assert [one.getblocking() for one in opened] == [False, False]
    assert [one.get_inheritable() for one in opened] == [False, False]


def test_addresses_are_ready_for_a_browser(opened: list[socket.socket]) -> None:
    opened += listen(None, 0)
    port = port_of(opened)

    assert addresses(opened) == [f"http://127.0.0.1:{port}", f"http://[::1]:{port}"]


def test_the_soft_descriptor_limit_becomes_the_hard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, 4_096))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: asked.append(limits))

    sockets.raise_descriptor_limit()

    assert asked == [(4_096, 4_096)]


def test_a_system_that_refuses_the_limit_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(which: int, limits: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)

    sockets.raise_descriptor_limit()


async def test_what_is_accepted_sends_at_once(opened: list[socket.socket]) -> None:
    """asyncio turns Nagle's algorithm off only for sockets that say they are TCP. With it an answer in two writes takes
    40 ms."""
    opened += listen("127.0.0.1", 0)
    accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda _, writer: accepted.set_result(writer), sock=opened[0])
    client = socket.create_connection(("127.0.0.1", port_of(opened)))
    opened.append(client)

    writer = await accepted

    assert writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    writer.close()
    server.close()
