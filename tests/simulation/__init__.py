"""The whole service in one process, one thread and no real time: a seed decides what happens, and in which order.

The broker's state machine, the manager's link and call encoding, the gateway's hub, dialects and outboxes, the worker's
runner, runs and flusher are the real ones. Processes, sockets, time and chance are simulated (loop.py, network.py,
chance.py), people use the service as docs/protocol.md tells them to (person.py, typist.py), faults come from a plan
(faults.py), and invariants.py judges what the people saw.

    python -m tests.simulation --seed 7 --trace
"""
