"""`kill -9` of each process, while a pipeline runs and while a tenant is being created."""

import os
import random
import signal
import threading
import time
import uuid
from pathlib import Path

from harness.client import PIPELINE, StockClient
from harness.place import open_directory
from harness.platform import Platform
from harness.processes import is_running
from proofs.invariants import heal_time

PROCESSES = ("tenant", "zygote", "gateway", "api", "keeper", "supervisor")


def process_id(platform: Platform, name: str) -> int:
    """Returns the id of a process by its name; `tenant` is the platform's first tenant."""
    if name == "tenant":
        return int(next(state["pid"] for state in platform.keeper("list") if state["tenant"] == platform.tenant))
    if name == "zygote":
        return int(next(engine["zygote_pid"] for engine in platform.keeper("hello")["engines"] if engine["zygote_pid"]))
    return platform.process_ids()[name]


def signed_in_client(platform: Platform, home: Path, admin: str) -> StockClient:
    """Returns a stock client that works with an API key, as in CI."""
    caller = platform.api(admin)
    key = caller.expect("POST", "/users/me/api_keys", 201, body={"name": f"k-{uuid.uuid4().hex[:8]}"}).json()["key"]
    caller.close()
    tenant = platform.tenant_caller(platform.tenant or "", platform.tenant_token(platform.tenant or "", admin))
    project = tenant.expect("GET", "/api/v1/projects").json()["items"][0]["id"]
    tenant.close()
    environment = {
        "ZENML_STORE_URL": f"{platform.url}/t/{platform.organization}/{platform.tenant}",
        "ZENML_STORE_API_KEY": key,
        "ZENML_PRO_API_URL": f"{platform.url}/api/v1",
        "ZENML_ACTIVE_PROJECT_ID": project,
    }
    client = StockClient(home, environment=environment)
    client.write("pipeline.py", PIPELINE)
    return client


def stored_runs(platform: Platform, admin: str) -> list[str]:
    """Returns the statuses of the runs that the platform's first tenant has stored."""
    tenant = platform.tenant_caller(platform.tenant or "", platform.tenant_token(platform.tenant or "", admin))
    found = tenant.expect("GET", "/api/v1/runs?project=default&size=1000").json()["items"]
    tenant.close()
    return [str(run["body"]["status"]) for run in found]


def wait_for_another_run(platform: Platform, admin: str, known: int) -> None:
    """Returns when more runs have begun than were known; raises if none does within two minutes."""
    tenant = platform.tenant_caller(platform.tenant or "", platform.tenant_token(platform.tenant or "", admin))
    end = time.monotonic() + 120
    while tenant.expect("GET", "/api/v1/runs?project=default&size=1").json()["total"] <= known:
        assert time.monotonic() < end, "the run does not begin"
        time.sleep(0.1)
    tenant.close()


def strike(process: int) -> None:
    """Kills a process and waits until it is gone: until then it might answer, or take a request with it."""
    os.kill(process, signal.SIGKILL)
    end = time.monotonic() + 10
    while is_running(process):
        assert time.monotonic() < end, f"process {process} survives SIGKILL"
        time.sleep(0.002)


def while_a_pipeline_runs(platform: Platform, client: StockClient, admin: str, name: str, delay: float) -> str:
    """Kills a process `delay` seconds after a pipeline run has begun; the run must complete all the same."""
    before = stored_runs(platform, admin)
    failure: list[str] = []

    def run() -> None:
        try:
            client.run("python", "pipeline.py")
        except RuntimeError as error:
            failure.append(str(error)[-1500:])

    thread = threading.Thread(target=run)
    thread.start()
    wait_for_another_run(platform, admin, len(before))
    time.sleep(delay)
    strike(process_id(platform, name))
    healed = heal_time(platform, admin)
    thread.join(240)
    assert not failure, f"the run failed after {name} was killed: {failure[0]}"
    after = stored_runs(platform, admin)
    assert sorted(after) == sorted([*before, "completed"]), f"runs before {before}, after {after}"
    return f"healed in {healed:4.1f} s, run completed"


def while_a_tenant_is_created(platform: Platform, admin: str, name: str, delay: float) -> str:
    """Kills a process right after a tenant was ordered; the tenant must be there, whole and answering."""
    tenant = f"kill-{uuid.uuid4().hex[:8]}"
    created = platform.create_tenant(tenant, admin, protected=False)
    victim = process_id(platform, name)
    time.sleep(delay)
    strike(victim)
    healed = heal_time(platform, admin)
    platform.wait_available(created["id"], admin, deadline=30)
    caller = platform.tenant_caller(tenant, platform.tenant_token(tenant, admin))
    caller.expect("GET", "/api/v1/stacks")
    caller.close()
    return f"healed in {healed:4.1f} s, tenant answers"


def with_the_api_dead(platform: Platform, admin: str) -> str:
    """Holds the api down: awake tenants serve, a sleeping one wakes, a stock login works."""
    state = next(state for state in platform.keeper("list") if state["tenant"] == platform.tenant)
    tenant = platform.tenant_caller(platform.tenant or "", platform.tenant_token(platform.tenant or "", admin))
    tenant.expect("GET", "/api/v1/stacks")
    api = process_id(platform, "api")
    os.kill(api, signal.SIGSTOP)
    try:
        tenant.expect("GET", "/api/v1/stacks")
        platform.keeper("sleep", id=state["id"])
        tenant.expect("GET", "/api/v1/stacks")
        platform.tenant_token(platform.tenant or "", admin)
    finally:
        os.kill(api, signal.SIGKILL)
    heal_time(platform, admin)
    tenant.close()
    return "served, woke and logged in without the api"


def run(*, smoke: bool, seed: int) -> int:
    """Runs the proof and prints a line per kill.

    Args:
        smoke: Only three kills.
        seed: Seed of the moments at which is killed.
    """
    moments = random.Random(seed)
    with open_directory("prove") as directory, Platform(directory / "data") as platform:
        admin = platform.sign_in()
        client = signed_in_client(platform, directory / "home", admin)
        print(f"{'api held down':28} {with_the_api_dead(platform, admin)}", flush=True)
        for process in ("keeper", "zygote") if smoke else PROCESSES * 3:
            result = while_a_tenant_is_created(platform, admin, process, moments.uniform(0, 0.3))
            print(f"{process + ', creating':28} {result}", flush=True)
        for process in ("tenant",) if smoke else PROCESSES:
            result = while_a_pipeline_runs(platform, client, admin, process, moments.uniform(0, 4))
            print(f"{process + ', running':28} {result}", flush=True)
    return 0
