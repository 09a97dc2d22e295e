"""One scrape of a whole platform: every process, no tenant woken, closed to strangers, alive while others are not."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nagaya.metrics.catalogue import FAMILIES
from nagaya.supervisor import control
from tests.runtime.support import alive, wait_for
from tests.supervisor.support import Platform, free_port, running_platform

TOKEN = "a-token-of-some-length"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that every user can traverse."""
    import tempfile  # noqa: PLC0415 - beside its only use.

    with tempfile.TemporaryDirectory(prefix="nagaya-test-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def platform(place: Path) -> Iterator[Platform]:
    """A platform with a real api and gateway that serves metrics."""
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    settings = {"metrics_token_sha256": digest, "metrics_tenants": True}
    address = ("127.0.0.1", free_port())
    with running_platform(place, commands={}, metrics_address=address, gateway=settings) as running:
        yield running


def ask(platform: Platform, path: str = "/metrics", token: str | None = TOKEN, method: str = "GET") -> tuple[int, str]:
    assert platform.config.metrics_address is not None
    connection = http.client.HTTPConnection(*platform.config.metrics_address, timeout=15)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def scrape(platform: Platform) -> Samples:
    status, text = ask(platform)
    assert status == 200, text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


def test_one_scrape_shows_every_family_of_every_process(platform: Platform) -> None:
    tenant = platform.create()
    platform.call("wake", id=tenant)
    control.is_ready(platform.config)
    samples = scrape(platform)
    names = {name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for name, _ in samples}
    assert names == set(FAMILIES) - {"nagaya_tenant_requests_total"}
    assert all(value(samples, "nagaya_up", process=name) == 1 for name in ("supervisor", "keeper", "api", "gateway"))
    assert value(samples, "nagaya_tenants", state="awake") == 1
    assert value(samples, "nagaya_spawns_total", outcome="zygote") == 1
    assert value(samples, "nagaya_spawn_seconds_count", phase="total") == 1
    assert value(samples, "nagaya_tenants_memory_bytes") > 1e6
    assert value(samples, "nagaya_process_memory_bytes", process="gateway") > 1e6
    assert value(samples, "nagaya_database_connections", database="sqlite", state="idle") >= 0
    assert value(samples, "nagaya_engine_state", engine="0.0.1", state="ready") == 1


def test_requests_are_counted_where_they_went_and_how_they_ended(platform: Platform) -> None:
    def request(path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", platform.config.port, timeout=15)
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    before = scrape(platform)
    assert request("/api/v1/server/info") == 200
    assert request("/api/v1/users/me") == 401
    assert request("/t/no/body") == 404
    after = scrape(platform)

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert more("nagaya_gateway_request_seconds_count", route="api", status="2xx") == 1
    assert more("nagaya_gateway_request_seconds_count", route="api", status="4xx") == 1
    assert more("nagaya_gateway_request_seconds_count", route="tenant", status="4xx") == 1
    assert more("nagaya_gateway_refusals_total", reason="KeyError") == 1
    assert more("nagaya_api_requests_total", application="api", method="GET", status="2xx") == 1
    assert more("nagaya_api_request_seconds_count", application="internal", status="4xx") == 1


def test_a_scrape_wakes_nobody_and_counts_as_nobodys_use(platform: Platform) -> None:
    tenant = platform.create()
    before = platform.state(tenant)
    for _ in range(3):
        scrape(platform)
    after = platform.state(tenant)
    assert (
        (after["state"], after["last_activity"])
        == (before["state"], before["last_activity"])
        == (
            "asleep",
            before["last_activity"],
        )
    )


@pytest.mark.parametrize(
    ("path", "token", "method", "status"),
    [
        ("/metrics", None, "GET", 401),
        ("/metrics", "wrong", "GET", 401),
        ("/metrics?x=1", TOKEN, "GET", 200),
        ("/metrics", TOKEN, "HEAD", 200),
        ("/metrics", TOKEN, "POST", 405),
        ("/", TOKEN, "GET", 404),
        ("/api/v1/server/info", TOKEN, "GET", 404),
    ],
)
def test_only_metrics_are_served_and_only_with_the_token(
    platform: Platform, path: str, token: str | None, method: str, status: int
) -> None:
    found, text = ask(platform, path, token, method)
    assert found == status
    assert ("nagaya_up" in text) == (status == 200 and method == "GET")


@pytest.mark.parametrize("garbage", [b"\x00\x01\r\n\r\n", b"GET\r\n\r\n", b"x" * 20_000, b"GET /metrics HTTP/1.1\r\n"])
def test_garbage_does_no_harm(platform: Platform, garbage: bytes) -> None:
    assert platform.config.metrics_address is not None
    with socket.create_connection(platform.config.metrics_address, timeout=15) as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    assert ask(platform)[0] == 200


def test_the_public_address_serves_no_metrics(platform: Platform) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", platform.config.port, timeout=15)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    answer = connection.getresponse()
    assert answer.status == 404
    assert b"nagaya_up" not in answer.read()
    connection.close()


def test_a_process_that_hangs_is_shown_as_down_and_the_others_as_they_are(platform: Platform) -> None:
    pid = platform.pid("api")
    os.kill(pid, signal.SIGSTOP)
    try:
        samples = scrape(platform)
        assert value(samples, "nagaya_up", process="api") == 0
        assert value(samples, "nagaya_up", process="keeper") == 1
        assert value(samples, "nagaya_process_memory_bytes", process="api") > 0
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: value(scrape(platform), "nagaya_up", process="api") == 1)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not alive(pid))
    wait_for(lambda: value(scrape(platform), "nagaya_process_restarts_total", process="api") == 1, seconds=30)
