"""Plain ZenML servers that run outside of the platform: enrolled by key, obeying roles and limits, counted once.

Each version's server is started once, in cloud mode, from an environment in which there is nothing of ours, and used by
the stock client of the same version.
"""

import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.approval import Person
from harness.client import CLIENTS, StockClient
from harness.enrolled import EnrolledServer, server_python
from harness.platform import Platform

VERSIONS = ("0.98.0", "0.75.1")
PASSWORD = "a long and quiet evening"
PIPELINE = '''
"""The smallest pipeline."""
import sys

from zenml import pipeline, step


@step
def number() -> int:
    return 7


@pipeline(name=sys.argv[1], enable_cache=False)
def counting() -> None:
    number()


if __name__ == "__main__":
    print("RUN", counting().status)
'''


@dataclass
class Enrolled:
    """A tenant whose server runs elsewhere, and who has signed in to it."""

    platform: Platform
    server: EnrolledServer
    version: str
    id: str
    name: str
    directory: Path
    people: dict[str, tuple[str, StockClient]] = field(default_factory=dict)

    def read(self) -> dict[str, Any]:
        caller = self.platform.api(self.platform.sign_in())
        found: dict[str, Any] = caller.expect("GET", f"/tenants/{self.id}").json()
        caller.close()
        return found

    def client(self, role: str) -> StockClient:
        """The stock client of a member with a role, signed in by device flow through the tenant's name."""
        if role not in self.people:
            self.people[role] = self._sign_in(role)
        return self.people[role][1]

    def _sign_in(self, role: str) -> tuple[str, StockClient]:
        user, email = new_member(self.platform, self.id, role)
        person = Person(self.platform.url)
        person.sign_in(email, PASSWORD)
        client = StockClient(self.directory / f"client-{user[:8]}", self.version)
        client.environment["ZENML_PRO_API_URL"] = f"{self.platform.url}/api/v1"
        process = client.start("zenml", "login", self.name, "--pro-api-url", f"{self.platform.url}/api/v1")
        try:
            assert person.approve(client.opened_url(), f"acme/{self.name}").status_code == 200
            output, _ = process.communicate(timeout=120)
        finally:
            process.kill()
            person.close()
        assert process.returncode == 0, output
        return user, client

    def run(self, role: str, pipeline: str, *, check: bool = True) -> str:
        client = self.client(role)
        client.write("pipeline.py", PIPELINE)
        return client.run("python", "pipeline.py", pipeline, check=check)


def new_member(platform: Platform, tenant_id: str, role: str) -> tuple[str, str]:
    """Creates a user with a role in a tenant; returns id and email."""
    caller = platform.api(platform.sign_in())
    name = f"u{uuid.uuid4().hex[:10]}"
    email = f"{name}@example.com"
    body = {"username": name, "email": email, "password": PASSWORD}
    user = str(caller.expect("POST", "/users", 201, body=body).json()["id"])
    caller.expect("POST", "/organizations/acme/members", 201, body={"user": user})
    caller.expect("POST", f"/tenants/{tenant_id}/members", 201, body={"user": user, "roles": [role]})
    caller.close()
    return user, email


def enroll(platform: Platform, name: str, version: str, url: str) -> dict[str, Any]:
    """Enrolls as a person does, and returns what the command printed."""
    key = platform.api(platform.sign_in())
    made = key.expect("POST", "/users/me/api_keys", 201, body={"name": f"enroll-{name}"}).json()["key"]
    key.close()
    platform.environment |= {"NAGAYA_API_KEY": made, "NAGAYA_URL": platform.url}
    try:
        command = ("tenant", "enroll", f"acme/{name}", "--zenml", version, "--server-url", url, "--json")
        printed: dict[str, Any] = json.loads(platform.command(*command).stdout)
    finally:
        del platform.environment["NAGAYA_API_KEY"], platform.environment["NAGAYA_URL"]
    return printed


def until(check: Callable[[], Any], deadline: float = 30) -> Any:
    """Polls until something is true."""
    end = time.monotonic() + deadline
    while not (value := check()):
        assert time.monotonic() < end, "did not become true"
        time.sleep(0.2)
    return value


@pytest.fixture(scope="module", params=VERSIONS)
def enrolled(
    request: pytest.FixtureRequest, platform: Platform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Enrolled]:
    """An enrolled server of each version, running."""
    version = request.param
    if not server_python(version).exists():
        pytest.skip(f"no ZenML {version} server environment (engine or .servers); ./run test installs it")
    if not (CLIENTS / version).exists():
        pytest.skip(f"no stock client at {CLIENTS / version}; ./run test installs it")
    directory = tmp_path_factory.mktemp(f"enrolled-{version}")
    server = EnrolledServer(version, directory / "server")
    name = f"elsewhere-{version.replace('.', '')}"
    printed = enroll(platform, name, version, server.url)
    assert printed["status"] == "pending"
    assert printed["url"] == ""
    server.environment |= printed["environment"]
    server.start()
    try:
        server.wait_ready()
        yield Enrolled(platform, server, version, printed["id"], name, directory)
    finally:
        server.stop()


def test_the_server_reports_and_is_looked_at(enrolled: Enrolled) -> None:
    tenant = enrolled.read()
    assert (tenant["status"], tenant["url"], tenant["enrolled"]) == ("available", enrolled.server.url, True)
    assert tenant["zenml_service"]["status"] == {"server_url": enrolled.server.url, "version": enrolled.version}
    assert until(lambda: enrolled.read()["liveness"]) is not None
    until(lambda: enrolled.read()["liveness"] == "up")
    assert enrolled.read()["state_reason"] == ""


def test_a_pipeline_runs_and_is_counted_once(enrolled: Enrolled) -> None:
    client = enrolled.client("tenant_developer")
    listing = client.run("zenml", "stack", "list")
    assert "default" in listing
    if enrolled.version != "0.75.1":
        client.run("zenml", "project", "register", "vision", "--set")
    assert "completed" in enrolled.run("tenant_developer", "counted")
    assert "completed" in enrolled.run("tenant_developer", "counted")
    counts = enrolled.read()["usage_counts"]
    assert (counts["pipeline"], counts["pipeline_run"]) == (1, 2), counts
    caller = enrolled.platform.api(enrolled.platform.sign_in())
    usage = caller.expect("GET", "/organizations/acme/usage").json()
    assert next(each for each in usage if each["tenant_id"] == enrolled.id)["features"] == counts


def test_roles_are_obeyed(enrolled: Enrolled) -> None:
    register = ("zenml", "artifact-store", "register")
    refused = enrolled.client("tenant_viewer").run(*register, "viewers-store", "--flavor=local", check=False)
    assert "nsufficient permissions" in refused, refused
    made = enrolled.client("tenant_developer").run(*register, "developers-store", "--flavor=local")
    assert "nsufficient" not in made
    # What a developer made, a viewer may read.
    assert "developers-store" in enrolled.client("tenant_viewer").run("zenml", "artifact-store", "list")


def test_a_limit_is_told_to_the_client(enrolled: Enrolled) -> None:
    caller = enrolled.platform.api(enrolled.platform.sign_in())
    used = enrolled.read()["usage_counts"].get("pipeline", 0)
    caller.expect("PUT", f"/tenants/{enrolled.id}/limits", body={"limits": {"pipeline": used}})
    try:
        output = enrolled.run("tenant_developer", "one-too-many", check=False)
        assert "completed" not in output
        assert "limit" in output
        assert enrolled.read()["usage_counts"].get("pipeline", 0) == used
    finally:
        caller.expect("PUT", f"/tenants/{enrolled.id}/limits", body={"limits": {}})
    assert "completed" in enrolled.run("tenant_developer", "one-too-many")


def test_a_removed_member_is_refused(enrolled: Enrolled) -> None:
    platform = enrolled.platform
    user, email = new_member(platform, enrolled.id, "tenant_developer")
    token = platform.sign_in(email, PASSWORD)
    server = enrolled.server.caller()
    form = {"grant_type": "zenml-external"}
    own = server.expect("POST", "/api/v1/login", form=form, token=token).json()["access_token"]
    path = "/api/v1/service_connectors"
    everything = server.expect("GET", "/api/v1/components?name=developers-store", token=own).json()
    assert everything["total"] == 1
    caller = platform.api(platform.sign_in())
    caller.expect("DELETE", f"/organizations/acme/members/{user}", 204)
    # The token of the server still has some minutes to live: nothing but what is the member's own can be reached.
    assert server.expect("GET", "/api/v1/components?name=developers-store", token=own).json()["total"] == 0
    assert server.call("GET", f"{path}/{uuid.uuid4()}", token=own).status in {403, 404}
    assert server.call("POST", "/api/v1/login", form=form, token=token).status == 401
    server.close()


def test_a_deactivated_tenant_is_refused_at_once(enrolled: Enrolled) -> None:
    caller = enrolled.platform.api(enrolled.platform.sign_in())
    token = enrolled.platform.sign_in()
    server = enrolled.server.caller()
    form = {"grant_type": "zenml-external"}
    server.expect("POST", "/api/v1/login", form=form, token=token)
    assert caller.expect("PATCH", f"/tenants/{enrolled.id}/deactivate").json()["status"] == "deactivated"
    assert server.call("POST", "/api/v1/login", form=form, token=token).status == 401
    assert caller.expect("PATCH", f"/tenants/{enrolled.id}/deploy").json()["status"] == "available"
    server.expect("POST", "/api/v1/login", form=form, token=token)
    server.close()


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <sys/time.h>
#define AHEAD 7200
int clock_gettime(clockid_t which, struct timespec *to) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(which, to);
    if (result == 0 && which == CLOCK_REALTIME) to->tv_sec += AHEAD;
    return result;
}
int gettimeofday(struct timeval *to, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    to->tv_sec = now.tv_sec;
    to->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *to) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to) *to = now.tv_sec;
    return now.tv_sec;
}
"""
"""Preloaded into a server, it is two hours ahead of everybody else."""


def test_a_clock_two_hours_off_does_no_harm_and_is_told(enrolled: Enrolled) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make a wrong clock with")
    source, library = enrolled.directory / "clock.c", enrolled.directory / "clock.so"
    source.write_text(CLOCK)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    enrolled.server.stop()
    enrolled.server.start(LD_PRELOAD=str(library)).wait_ready()
    until(lambda: "clock is 120 minutes ahead" in enrolled.read()["state_reason"])
    assert enrolled.read()["status"] == "available"
    assert "default" in enrolled.client("tenant_developer").run("zenml", "stack", "list")
    assert "completed" in enrolled.run("tenant_developer", "counted")


def test_only_the_key_in_force_starts_a_server(enrolled: Enrolled) -> None:
    """Last, because it starts the server again."""
    variable = "ZENML_SERVER_PRO_OAUTH2_CLIENT_SECRET"
    enrolled.server.stop()
    enrolled.server.start(**{variable: "wrong"})
    assert enrolled.server.wait_end() != 0
    assert "401" in enrolled.server.log
    caller = enrolled.platform.api(enrolled.platform.sign_in())
    key = caller.expect("POST", f"/tenants/{enrolled.id}/enrollment_key", 201, body={}).json()["enrollment_key"]
    enrolled.server.start()
    assert enrolled.server.wait_end() != 0
    assert "401" in enrolled.server.log
    enrolled.server.environment[variable] = key
    enrolled.server.start().wait_ready()
    assert "default" in enrolled.client("tenant_developer").run("zenml", "stack", "list")
