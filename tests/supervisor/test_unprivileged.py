"""Everything once more as an ordinary user: one user for all, no view, no file wall; the rest is the same."""

from __future__ import annotations

import os
from pathlib import Path

from harness.unprivileged import run_scenario

NOBODY = 65534

SCENARIO = """
import os, signal, sys
from pathlib import Path
from nagaya.runtime.config import PlatformConfig
from nagaya.supervisor import control, view
place = Path(sys.argv[1])
if os.geteuid() == 0:
    view.enter(PlatformConfig.create(place / "unused"))
    os.setgroups([])
    os.setresgid({nobody}, {nobody}, {nobody})
    os.setresuid({nobody}, {nobody}, {nobody})
    os.environ["HOME"] = str(place)
from tests.runtime.support import alive, ask, wait_for
from tests.supervisor.support import running_platform
with running_platform(place) as platform:
    assert platform.config.service_uid is None
    assert platform.ask()["uid"] == os.getuid()
    tenants = [platform.create() for _ in range(2)]
    pids = [platform.call("wake", id=tenant)["pid"] for tenant in tenants]
    assert platform.call("list")[0]["state"] == "awake"
    for name in ("keeper", "supervisor"):
        old = platform.pid(name)
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: platform.pid(name) != old)
    assert [platform.call("wake", id=tenant)["pid"] for tenant in tenants] == pids
    os.kill(pids[0], signal.SIGKILL)
    wait_for(lambda: platform.state(tenants[0])["pid"] not in (None, pids[0]))
    platform.check_invariants()
    platform.call("purge", id=tenants[1])
    assert platform.config.data_dir.stat().st_mode & 0o7777 == 0o700
    assert control.stop(platform.config, timeout=20)
    assert platform.processes() == set()
print("all is well")
"""


def test_an_ordinary_user_runs_a_platform(place: Path) -> None:
    inner = place / "home"
    inner.mkdir()
    if os.geteuid() == 0:
        os.chown(inner, NOBODY, NOBODY)
    run_scenario(SCENARIO.format(nobody=NOBODY), str(inner), seconds=100, home=inner)
