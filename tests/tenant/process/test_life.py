"""A tenant's life out of the zygote: start, requests, stop, kill."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness import PUBLIC_URL, links_of
from nagaya_tenant import version

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Tenant, Zygote


def test_answers_and_stops_with_a_folded_log(zygote: Zygote, tenant: Tenant) -> None:
    token = tenant.token()
    user = tenant.request("/api/v1/current-user", token=token)
    stacks = tenant.request("/api/v1/stacks", token=token)
    projects = tenant.request("/api/v1/projects", token=token)

    assert (user.status, user.json()["name"]) == (200, "ada")
    assert [stack["name"] for stack in stacks.json()["items"]] == ["default"]
    assert [project["id"] for project in projects.json()["items"]] == [str(tenant.project)]
    assert tenant.stop(zygote) == 0
    assert not list(tenant.directory.glob("zenml.db-*"))


def test_ready_line_carries_info_and_timings(tenant: Tenant) -> None:
    assert tenant.ready["info"] == tenant.request("/api/v1/info").json()
    assert tenant.ready["info"]["id"] == str(tenant.id)
    assert tenant.ready["info"]["server_url"].endswith(tenant.root_path)
    assert {"isolate", "stamp", "prepare", "application", "lifespan", "info", "total"} <= tenant.ready["timings"].keys()


@pytest.mark.skipif(version.installed() == "0.94.6", reason="webhooks came after 0.94.6")
def test_addresses_of_webhooks_have_the_prefix_once(tenant: Tenant) -> None:
    body = {"name": "hook", "webhook_type": "github", "project": str(tenant.project)}
    made = tenant.request("/api/v1/webhooks", method="POST", token=tenant.token(), body=body)
    assert made.status == 200, made.body
    address = next(value for value in texts(made.json()) if value.endswith("/events"))
    assert address.startswith(f"{PUBLIC_URL}{tenant.root_path}/api/v1/webhooks/")


def test_the_description_has_the_prefix(tenant: Tenant) -> None:
    document = tenant.request("/openapi.json", token=tenant.token()).json()
    assert document["servers"] == [{"url": tenant.root_path}]
    flows = [scheme["flows"] for scheme in document["components"]["securitySchemes"].values() if "flows" in scheme]
    assert [flow["password"]["tokenUrl"] for flow in flows] == [f"{tenant.root_path}/api/v1/login"]


def test_date_header_follows_the_clock_although_nothing_ticks(tenant: Tenant) -> None:
    first = tenant.request("/ready").headers["date"]
    deadline = time.monotonic() + 5
    while tenant.request("/ready").headers["date"] == first:
        assert time.monotonic() < deadline, "the Date header stands still"
        time.sleep(0.05)


def test_idle_tenant_hardly_wakes(tenant: Tenant) -> None:
    tenant.request("/ready")

    def switches() -> int:
        status = Path(f"/proc/{tenant.pid}/status").read_text()
        return sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)

    before = switches()
    time.sleep(1.0)  # The quantity itself is "per second of doing nothing".
    assert switches() - before <= 5


def test_second_start_keeps_data_and_tokens(zygote: Zygote, tenant: Tenant) -> None:
    token = tenant.token()
    made = tenant.request("/api/v1/tags", method="POST", token=token, body=_tag("kept"))
    tenant.stop(zygote)

    assert tenant.start(zygote)["ready"]
    found = tenant.request(f"/api/v1/tags/{made.json()['id']}", token=token)
    assert (found.status, found.json()["name"]) == (200, "kept")


def test_request_queued_while_asleep_is_answered(zygote: Zygote, new_tenant: Callable[..., Tenant]) -> None:
    tenant = new_tenant()
    answers: list[int] = []
    waiting = threading.Thread(target=lambda: answers.append(tenant.request("/api/v1/info").status))
    waiting.start()

    assert tenant.start(zygote)["ready"]
    waiting.join(30)
    assert answers == [200]
    assert tenant.stop(zygote) == 0


def test_requests_in_flight_finish_before_the_stop(zygote: Zygote, tenant: Tenant) -> None:
    token = tenant.token()
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(tenant.request("/api/v1/flavors?size=100", token=token).status))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while not _connections(tenant.pid):
        time.sleep(0.001)
    assert tenant.stop(zygote) == 0
    # What was accepted is answered. What still waits in the listening socket's queue belongs to the next start.
    if any(thread.is_alive() for thread in threads):
        assert tenant.start(zygote)["ready"]
    for thread in threads:
        thread.join(30)
    assert answers == [200] * 4


def test_kill_under_write_load_loses_no_acknowledged_write(zygote: Zygote, tenant: Tenant) -> None:
    token = tenant.token()
    acknowledged: list[str] = []
    lock = threading.Lock()

    def write(worker: int) -> None:
        for number in range(10_000):
            name = f"w{worker}-{number}"
            try:
                answer = tenant.request("/api/v1/tags", method="POST", token=token, body=_tag(name), timeout=5)
            except OSError:
                return
            if answer.status == 200:
                with lock:
                    acknowledged.append(name)

    writers = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for writer in writers:
        writer.start()
    deadline = time.monotonic() + 30
    while len(acknowledged) < 20 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert tenant.stop(zygote, signal.SIGKILL) == -signal.SIGKILL
    for writer in writers:
        writer.join(30)
    written = set(acknowledged)
    assert len(written) >= 20

    assert tenant.start(zygote)["ready"]
    assert tenant.request("/api/v1/info").status == 200
    assert tenant.stop(zygote) == 0
    with closing(sqlite3.connect(tenant.database)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        assert written <= {row[0] for row in database.execute("SELECT name FROM tag")}


def test_tenants_survive_their_zygotes_peers(zygote: Zygote, tenant: Tenant) -> None:
    other = zygote.connect()
    other.close()
    assert zygote.request({"cmd": "ping"})["ok"]
    assert tenant.request("/ready").status == 200


def _tag(name: str) -> dict[str, object]:
    return {"name": name, "exclusive": False, "color": "blue"}


def _connections(pid: int) -> int:
    return sum(link.startswith("socket:") for link in links_of(pid)) - 1


def texts(node: Any) -> list[str]:
    """Every text in a JSON document."""
    if isinstance(node, dict):
        return [text for value in node.values() for text in texts(value)]
    if isinstance(node, list):
        return [text for value in node for text in texts(value)]
    return [node] if isinstance(node, str) else []
