"""Tenants of two ZenML versions at the same time, each used by the stock client of its own version."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.approval import Person
from harness.client import CLIENTS, StockClient
from harness.platform import Platform
from tests.e2e.test_stock_client import api_key, run_pipeline, sleep

OLDER, NEWER = "0.94.6", "0.98.0"
TENANTS = {OLDER: "older", NEWER: "staging"}


@pytest.fixture(scope="module")
def engines(platform: Platform) -> list[str]:
    """Both versions, of which the older one has a tenant too."""
    token = platform.sign_in()
    caller = platform.api(token)
    versions = [str(engine["version"]) for engine in caller.expect("GET", "/engines").json()]
    if OLDER not in versions:
        pytest.skip(f"no engine {OLDER} beside {NEWER}; ./run test installs it")
    made = platform.create_tenant(TENANTS[OLDER], token, version=OLDER)
    platform.wait_available(made["id"], token, deadline=120)
    return [OLDER, NEWER]


@pytest.fixture
def clients(tmp_path: Path, engines: list[str]) -> dict[str, StockClient]:
    """A stock client of each version, each with a home of its own."""
    missing = [version for version in engines if not (CLIENTS / version).exists()]
    if missing:
        pytest.skip(f"no stock client {', '.join(missing)} at {CLIENTS}; ./run test installs it")
    return {version: StockClient(tmp_path / version, version) for version in engines}


def log_in(client: StockClient, person: Person, url: str, tenant: str) -> str:
    """Runs `zenml login URL`, approves the device for a tenant in the browser, and returns the client's output."""
    process = client.start("zenml", "login", url)
    try:
        answer = person.approve(client.opened_url(), tenant=f"acme/{tenant}")
        assert answer.status_code == 200, answer.text
        output, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, output
    return output


def state(platform: Platform, tenant: str) -> dict[str, Any]:
    """What the keeper says about a tenant."""
    return next(dict(each) for each in platform.keeper("list") if each["tenant"] == tenant)


def stored_runs(platform: Platform, admin: str, tenant: str) -> dict[str, str]:
    """Status by id of all runs that a tenant knows."""
    caller = platform.tenant_caller(tenant, platform.tenant_token(tenant, admin))
    found = caller.expect("GET", "/api/v1/runs?project=default").json()["items"]
    caller.close()
    return {run["id"]: run["body"]["status"] for run in found}


def test_each_is_used_by_its_own_client(
    platform: Platform, person: Person, clients: dict[str, StockClient], admin: str
) -> None:
    for version, client in clients.items():
        output = log_in(client, person, f"{platform.url}/t/acme/{TENANTS[version]}", TENANTS[version])
        assert TENANTS[version] in output
        assert "default" in client.run("zenml", "project", "list")
        client.run("zenml", "project", "set", "default")
        assert "default" in client.run("zenml", "stack", "list")
    for _ in ("awake", "after sleep"):
        with ThreadPoolExecutor(len(clients)) as pool:
            runs = dict(zip(clients, pool.map(run_pipeline, clients.values()), strict=True))
        for version, run in runs.items():
            assert stored_runs(platform, admin, TENANTS[version])[run] == "completed"
            other = next(each for each in runs if each != version)
            assert runs[other] not in stored_runs(platform, admin, TENANTS[version])
        for tenant in TENANTS.values():
            assert sleep(platform, tenant)["state"] == "asleep"


def test_each_says_its_own_version(platform: Platform, engines: list[str]) -> None:
    for version in engines:
        caller = platform.tenant_caller(TENANTS[version])
        info = caller.expect("GET", "/api/v1/info").json()
        caller.close()
        assert info["version"] == version


def test_the_older_one_is_forked_and_comes_back_from_a_kill(
    platform: Platform, clients: dict[str, StockClient], admin: str
) -> None:
    client = clients[OLDER]
    client.environment |= {
        "ZENML_PRO_API_URL": f"{platform.url}/api/v1",
        "ZENML_STORE_URL": f"{platform.url}/t/acme/{TENANTS[OLDER]}",
        "ZENML_STORE_API_KEY": api_key(platform, admin, "older"),
    }
    assert "default" in client.run("zenml", "stack", "list")
    before = state(platform, TENANTS[OLDER])
    assert before["state"] == "awake"
    assert "fork" in before["timings"]
    if os.getuid() == 0:
        users = {state(platform, tenant)["pid"]: tenant for tenant in TENANTS.values()}
        owners = [Path(f"/proc/{pid}").stat().st_uid for pid in users if pid]
        assert 0 not in owners
        assert len(set(owners)) == len(owners)
    os.kill(before["pid"], signal.SIGKILL)
    end = time.monotonic() + 60
    while state(platform, TENANTS[OLDER])["pid"] in (None, before["pid"]):
        assert time.monotonic() < end, "the tenant was not started again"
        time.sleep(0.1)
    assert "default" in client.run("zenml", "stack", "list")


def test_an_engine_in_use_is_not_removed(platform: Platform, engines: list[str]) -> None:
    platform.environment["NAGAYA_DATA_DIR"] = str(platform.data_dir)
    try:
        result = platform.command("engine", "remove", OLDER, "-y", check=False)
    finally:
        del platform.environment["NAGAYA_DATA_DIR"]
    assert result.returncode == 1
    assert f"The engine {OLDER} is in use by acme/older." in result.stderr


def test_a_version_that_is_not_installed_is_refused(platform: Platform, admin: str, engines: list[str]) -> None:
    caller = platform.api(admin)
    answer = caller.call("POST", "/tenants", body={"name": "ancient", "organization": "acme", "version": "0.90.0"})
    caller.close()
    assert answer.status == 422
    assert answer.json()["detail"] == f"ZenML 0.90.0 is not installed here: use one of {OLDER}, {NEWER}."
