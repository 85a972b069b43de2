"""`python -m tests.chaos.hosts.switch ADDRESS=DESCRIPTOR...`: carries packets between hosts.

A line on standard input sets what happens on the way from one host to another: `FROM TO LOST DELAY`, the share of
the packets that is lost (0 to 1) and the seconds that the others take. Each is answered by a line with the number of
packets that had gone that way, and of those of them that were lost. It ends with its standard input.
"""

import asyncio
import os
import random
import sys
from socket import inet_aton
from typing import NamedTuple

SOURCE, DESTINATION = slice(12, 16), slice(16, 20)  # bytes of an IPv4 header
LARGEST = 65_536
TURN = 64  # packets of one host before the others have theirs


class Way:
    """From one host to another."""

    def __init__(self) -> None:
        self.lost = 0.0
        self.delay = 0.0
        self.count = 0
        self.dropped = 0


class Port(NamedTuple):
    """A host as the switch knows it."""

    address: bytes
    descriptor: int


class Switch:
    """Between all of these hosts, each way without loss and delay as yet."""

    def __init__(self, ports: list[Port], chance: random.Random) -> None:
        self._ports = {port.address: port for port in ports}
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self.ways = {(one.address, other.address): Way() for one in ports for other in ports if one is not other}
        for port in ports:
            self._loop.add_reader(port.descriptor, self._read, port)

    def _read(self, port: Port) -> None:
        for _ in range(TURN):
            try:
                packet = os.read(port.descriptor, LARGEST)
            except BlockingIOError:
                return
            self._carry(packet)

    def _carry(self, packet: bytes) -> None:
        way = self.ways.get((packet[SOURCE], packet[DESTINATION]))
        if way is None:  # IPv6, or a broadcast
            return
        way.count += 1
        target = self._ports[packet[DESTINATION]].descriptor
        if way.lost and self._chance.random() < way.lost:
            way.dropped += 1
        elif way.delay:
            self._loop.call_later(way.delay, _write, target, packet)
        else:
            _write(target, packet)


def _write(descriptor: int, packet: bytes) -> None:
    try:
        os.write(descriptor, packet)
    except OSError:  # the host's queue is full: so is a real one's at times
        return


async def serve(ports: list[Port]) -> None:
    """Until standard input ends."""
    switch = Switch(ports, random.Random(1))
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        source, destination, lost, delay = line.decode().split()
        way = switch.ways[inet_aton(source), inet_aton(destination)]
        way.lost, way.delay = float(lost), float(delay)
        sys.stdout.write(f"{way.count} {way.dropped}\n")
        sys.stdout.flush()


def main(argv: list[str]) -> None:
    """The process."""
    pairs = [argument.split("=") for argument in argv]
    asyncio.run(serve([Port(inet_aton(address), int(descriptor)) for address, descriptor in pairs]))


if __name__ == "__main__":
    main(sys.argv[1:])
