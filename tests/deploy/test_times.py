"""Who waits for whom: each time-out in `deploy/` is longer than what it waits for."""

import re

import pytest

from gateway.server import ABORT_AFTER, GRACE, KEEP_ALIVE, LONGEST_DRAIN
from gateway.streams import PING_SECONDS
from gateway.supervisor import GRACE as GATEWAY_NEEDS
from shared.settings import Settings
from tests.deploy import files
from worker.supervisor import LAST_CLOSE, LAST_WORK

DEFAULTS = Settings.model_construct()
MARGIN = 2.0  # seconds
NGINX = files.NGINX.read_text()
INGRESS = files.manifest("Ingress", "llm-chat")["metadata"]["annotations"]


def worker_needs(grace: str) -> float:
    return float(grace) + LAST_WORK + LAST_CLOSE


def test_a_gateway_needs_no_longer_than_its_parent_gives() -> None:
    assert LONGEST_DRAIN + ABORT_AFTER + GRACE < GATEWAY_NEEDS


def test_kubernetes_waits_for_the_drain() -> None:
    [command, pause] = files.container("gateway")["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert files.pod("gateway")["terminationGracePeriodSeconds"] > float(pause) + GATEWAY_NEEDS + MARGIN
    grace = files.pod_environment("worker")["LLM_CHAT_WORKER_GRACE"]
    assert files.pod("worker")["terminationGracePeriodSeconds"] > worker_needs(grace) + MARGIN


def test_the_pause_before_the_stop_is_longer_than_readiness_takes_to_be_seen() -> None:
    probe = files.container("gateway")["readinessProbe"]
    pause = files.container("gateway")["lifecycle"]["preStop"]["exec"]["command"][1]
    assert float(pause) > probe["periodSeconds"] * probe["failureThreshold"]


def test_compose_waits_for_the_drain() -> None:
    services = files.compose()
    assert files.seconds(services["gateway"]["stop_grace_period"]) > GATEWAY_NEEDS + MARGIN
    grace = services["worker"]["environment"]["LLM_CHAT_WORKER_GRACE"]
    assert files.seconds(services["worker"]["stop_grace_period"]) > worker_needs(grace) + MARGIN


def test_systemd_waits_for_the_drain() -> None:
    [gateway] = files.unit("llm-chat-gateway@")["TimeoutStopSec"]
    assert files.seconds(gateway) > GATEWAY_NEEDS + MARGIN
    [worker] = files.unit("llm-chat-worker@")["TimeoutStopSec"]
    grace = files.unit_environment("llm-chat-worker@")["LLM_CHAT_WORKER_GRACE"]
    assert files.seconds(worker) > worker_needs(grace) + MARGIN


def test_systemd_stops_workers_then_gateways_then_the_broker() -> None:
    """What starts later stops earlier (systemd.unit, After=)."""
    broker, gateway, worker = ("llm-chat-broker", "llm-chat-gateway@", "llm-chat-worker@")
    assert f"{broker}.service" in " ".join(files.unit(gateway)["After"])
    after = " ".join(files.unit(worker)["After"])
    assert f"{broker}.service" in after
    assert gateway in after
    for name in (gateway, worker):
        assert not {"Requires", "BindsTo", "PartOf"} & files.unit(name).keys()
        assert files.unit(name)["KillMode"] == ["mixed"]


def test_a_wrong_setting_is_not_tried_for_ever() -> None:
    for path in files.UNITS:
        assert files.unit(path.stem)["RestartPreventExitStatus"] == ["2"]


@pytest.mark.parametrize("text", [NGINX, *(path.read_text() for path in files.CADDYFILES)])
def test_proxies_give_idle_connections_up_before_the_gateway_does(text: str) -> None:
    found = [*files.directives(text, "keepalive_timeout"), *re.findall(r"^\s*keepalive (\d+s)$", text, re.MULTILINE)]
    assert found
    assert all(files.seconds(one) < KEEP_ALIVE for one in found)


def test_nginx_outlasts_every_silence() -> None:
    longest, of_sockets = map(files.seconds, files.directives(NGINX, "proxy_read_timeout"))
    assert longest > DEFAULTS.queue.timeout + DEFAULTS.openai.first_token_timeout
    assert of_sockets > 3 * DEFAULTS.gateway.ping_interval
    assert longest > 3 * PING_SECONDS
    assert float(INGRESS["nginx.ingress.kubernetes.io/proxy-read-timeout"]) == longest


def test_nothing_is_held_back() -> None:
    assert set(files.directives(NGINX, "proxy_buffering")) == {"off"}
    assert len(list(files.directives(NGINX, "proxy_buffering"))) == NGINX.count("proxy_pass ")
    assert INGRESS["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    for path in files.CADDYFILES:
        assert list(files.directives(path.read_text(), "flush_interval")) == ["-1"]


def test_no_proxy_sends_a_post_twice() -> None:
    for words in (
        *files.directives(NGINX, "proxy_next_upstream"),
        INGRESS["nginx.ingress.kubernetes.io/proxy-next-upstream"],
    ):
        assert "non_idempotent" not in words
        assert "http_503" in words  # what a gateway that stops answers
