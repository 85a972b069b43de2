"""Everything but the broker is restarted under a reply, as the README says one may."""

from pathlib import Path

import pytest

from tests.processes.client import JsonClient, echo_of, events, sha256, text_of
from tests.processes.service import Process, running_service, until

pytestmark = pytest.mark.timeout(60)


async def test_a_reply_outlives_gateway_and_worker(tmp_path: Path) -> None:
    with running_service(tmp_path, LLM_CHAT_ECHO_INTERVAL="0.8", LLM_CHAT_WORKER_GRACE="0.1") as service:
        broker = Process("shared.brokers.manager", service.environment, tmp_path / "broker.log")
        service.processes.append(broker)
        until(lambda: "the broker is ready" in broker.text(), what="the broker")
        gateway = service.gateway()
        worker = service.worker()
        service.ready(gateway)
        client = await JsonClient.open(gateway.ws)
        await client.say("message", id="m1", content="patience")
        session = (await client.until("session"))["session_id"]
        last = await client.until("delta")
        assert gateway.process.stop() == 0
        assert worker.stop() == 0
        seen = [event for event in events(client.log) if event["cursor"] != last["cursor"]]
        seen.append(last)
        await client.close()

        gateway = service.gateway()
        service.worker()
        service.ready(gateway)
        client = await JsonClient.open(gateway.ws)
        await client.say("resume", session_id=session, after=last["cursor"])
        done = await client.until("done")
        assert text_of(seen + client.log) == echo_of("patience")
        assert done["text_sha256"] == sha256(echo_of("patience"))
        assert "takeover" in [frame["type"] for frame in client.log]
        await client.close()
        assert broker.stop() == 0
        assert not list(service.broker.glob("*.sock"))


async def test_a_gateway_starts_no_broker_where_something_else_sees_to_that(tmp_path: Path) -> None:
    """As under systemd: an heir of the gateway's own would be in the way of the unit that is about to start again."""
    with running_service(tmp_path, LLM_CHAT_BROKER_EMBEDDED="false") as service:
        gateway = service.gateway()
        service.worker()
        for life in range(2):
            assert gateway.get("/readyz")[1]["reason"] == "the broker cannot be reached"
            assert service.broker_process() is None
            broker = Process("shared.brokers.manager", service.environment, tmp_path / f"broker-{life}.log")
            service.processes.append(broker)
            service.ready(gateway)
            broker.kill()
            broker.wait(5)
            until(lambda: gateway.get("/readyz")[0] == 503, what="news of the broker's end")
