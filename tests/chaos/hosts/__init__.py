"""Several hosts on one machine, with a network between them that can be broken packet by packet.

A host is a network namespace with one interface: a TUN device, whose other end is a descriptor. One process, the
switch, reads what each host sends and hands it to whom it is for; what is lost on the way, and how long it takes, can
be said for each direction between two hosts. So a partition, a loss in one direction and a latency are real to the
kernels' TCP on both sides, without netem, a firewall or the `ip` command; and everything is gone with the processes.

    with Network(["harness", "broker", "worker"]) as network:
        with network.host("worker").entered():
            process = subprocess.Popen(...)     # belongs to that host from now on, as do sockets that are opened here
        network.cut("worker", "broker")

It takes the right to make namespaces (CAP_SYS_ADMIN, CAP_NET_ADMIN) and /dev/net/tun: `why_not` says what is missing.
"""

from tests.chaos.hosts.network import Network, why_not

__all__ = ["Network", "why_not"]
