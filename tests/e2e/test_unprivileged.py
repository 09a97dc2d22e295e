"""A whole platform of an ordinary user: served, put to sleep, killed part by part, healed, examined and stopped."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.unprivileged import ROOT, run_scenario

USER = 64_124

SCENARIO = """
import json, os, signal, sys, time
from pathlib import Path
from harness.platform import Platform
from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.local.processes import all_pids, start_time, user_of
from nagaya.supervisor import view

place, user, engines = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
# What is installed already is shown to the user as the supervisor shows it to its services.
view.enter(PlatformConfig.create(place / "unused", engines_dir=engines))
os.setgroups([])
os.setresgid(user, user, user)
os.setresuid(user, user, user)


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)
    return value


def status(platform):
    found = platform.command("status", "--data-dir", str(platform.data_dir), "--json", check=False)
    return json.loads(found.stdout) if found.stdout else {"ready": False, "pid": None, "processes": []}


def pids(platform):
    state = status(platform)
    found = {process["name"]: process["pid"] for process in state["processes"]} | {"supervisor": state["pid"]}
    engines = platform.keeper("hello")["engines"] if found.get("keeper") else []
    found["zygote"] = next((engine["zygote_pid"] for engine in engines if engine["zygote_pid"]), None)
    return found if state["ready"] else {}


def stacks(platform):
    caller = platform.tenant_caller("staging", platform.tenant_token("staging", platform.sign_in()))
    names = [stack["name"] for stack in caller.expect("GET", "/api/v1/stacks").json()["items"]]
    platform.close_callers()
    return names


def healed(platform, name, old):
    try:
        return pids(platform).get(name) not in (None, old)
    except (OSError, RuntimeError, ValueError):
        return False  # The keeper's socket while there is no keeper.


platform = Platform(place / "data", settings={"NAGAYA_ENGINES_DIR": str(engines)})
with platform:
    assert stacks(platform) == ["default"]
    tenant = platform.keeper("list")[0]
    platform.keeper("sleep", id=tenant["id"])
    assert platform.keeper("get", id=tenant["id"])["state"] == "asleep"
    assert stacks(platform) == ["default"]
    for name in ("keeper", "zygote", "api", "gateway", "supervisor"):
        old = pids(platform)[name]
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: healed(platform, name, old))
        assert stacks(platform) == ["default"], name
    examined = platform.command("doctor", "--data-dir", str(platform.data_dir), check=False)
    said = examined.stdout
    # 1: there are warnings, of which running as one user is one, and no errors.
    assert examined.returncode == 1, said
    assert "is this platform's, which runs" in said
    assert "Everything runs as one user" in said
    assert "nothing in the file system keeps one tenant's process" in said
    owners = {path.lstat().st_uid for path in platform.data_dir.rglob("*")}
    assert owners == {user}
    assert (platform.data_dir / "control").stat().st_mode & 0o7777 == 0o700
own = {os.getpid()}
assert {pid for pid in all_pids() if user_of(pid) == user and start_time(pid) is not None} == own
print("all is well")
"""


@pytest.fixture(autouse=True)
def connections() -> None:
    """Replaces the fixture of the other tests, which need the platform of the session."""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of the user's, with a path short enough for sockets."""
    directory = Path(tempfile.mkdtemp(prefix="nagaya-"))
    os.chown(directory, USER, USER)
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="without root all tests here run as an ordinary user")
def test_an_ordinary_user_hosts_a_tenant(place: Path) -> None:
    engines = Path(os.environ.get("NAGAYA_ENGINES_DIR", str(ROOT / ".engines")))
    run_scenario(SCENARIO, str(place), str(USER), str(engines), seconds=240, home=place)
