"""An engine that was damaged: other tenants go on, its own say what is wrong, a repair heals them without a restart."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.place import open_directory
from harness.platform import ROOT, Platform
from nagaya.engines import catalog, health

VERSION = "0.94.6"
INSTALLED = Path(os.environ.get("NAGAYA_ENGINES_DIR", str(ROOT / ".engines")))


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory with copies of both engines, which share their files with the installed ones."""
    if catalog.find(INSTALLED, VERSION) is None:
        pytest.skip(f"no engine {VERSION} in {INSTALLED}; ./run test installs it")
    with open_directory("damage") as directory:
        for engine in catalog.installed(INSTALLED):
            copy: Callable[[str, str], object] = os.link if _linkable(directory) else shutil.copy2
            shutil.copytree(engine.directory, directory / "engines" / engine.version, symlinks=True, copy_function=copy)
        yield directory


def _linkable(directory: Path) -> bool:
    return directory.stat().st_dev == INSTALLED.stat().st_dev


@pytest.fixture(scope="module")
def platform(place: Path) -> Iterator[Platform]:
    """A platform with a tenant of each engine; the older one's was made and has gone to sleep."""
    settings = {"NAGAYA_ENGINES_DIR": str(place / "engines"), "NAGAYA_DATA_DIR": str(place / "data")}
    with Platform(place / "data", settings=settings) as running:
        token = running.sign_in()
        made = running.create_tenant("older", token, version=VERSION)
        running.wait_available(made["id"], token, deadline=180)
        yield running


def state(platform: Platform, tenant: str) -> dict[str, Any]:
    """What the keeper says about a tenant."""
    return next(dict(each) for each in platform.keeper("list") if each["tenant"] == tenant)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    """The first true value of `condition`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.1)
    return value


def shown(platform: Platform, name: str) -> dict[str, Any]:
    """A tenant as people see it."""
    caller = platform.api(platform.sign_in())
    found = caller.expect("GET", f"/tenants/acme%2F{name}").json()
    caller.close()
    return dict(found)


def answers(platform: Platform, tenant: str) -> bool:
    """Whether a tenant serves a request that needs its process."""
    caller = platform.tenant_caller(tenant, platform.tenant_token(tenant, platform.sign_in()))
    answer = caller.call("GET", "/api/v1/stacks")
    caller.close()
    return bool(answer.status == 200)


def truncate(path: Path) -> None:
    """Empties a file without touching what else has links to it."""
    path.unlink()
    path.touch()


def test_damage_while_it_is_down_is_named_and_repaired_while_it_runs(platform: Platform, place: Path) -> None:
    platform.stop()
    site = catalog.site_packages(place / "engines" / VERSION)
    assert site is not None
    truncate(site / "zenml" / "zen_server" / "auth.py")
    for compiled in (site / "zenml" / "zen_server" / "__pycache__").glob("auth.*.pyc"):
        compiled.unlink()
    platform.start()
    assert answers(platform, "staging")

    wait_for(lambda: shown(platform, "older")["status"] == "failed", "the tenant of the damaged engine did not fail")
    reason = shown(platform, "older")["state_reason"]
    assert reason.startswith(f"The engine {VERSION} is damaged: 1 of its files are missing or changed")
    assert "zenml/zen_server/auth.py" in reason
    assert reason.endswith(f"Repair it: nagaya engine install {VERSION} --repair")
    findings = json.loads(platform.command("doctor", "--json", check=False).stdout)
    found = findings if isinstance(findings, list) else findings["findings"]
    assert "error" in [each["state"] for each in found if each["check"] == f"engine_{VERSION}"]

    supervisor = platform.process_ids()
    platform.command("engine", "install", VERSION, "--repair", timeout=900)
    wait_for(lambda: shown(platform, "older")["status"] == "available", "the repair did not heal the tenant", 300)
    assert answers(platform, "older")
    assert answers(platform, "staging")
    assert platform.process_ids() == supervisor


@pytest.mark.parametrize("damage", ["no record", "no python", "no template"])
def test_plain_damage_while_it_runs(platform: Platform, place: Path, damage: str) -> None:
    home = place / "engines" / VERSION
    path = {
        "no record": home / "nagaya" / "engine.json",
        "no python": home / "bin" / "python",
        "no template": home / "nagaya" / "template.db",
    }[damage]
    aside = place / "aside"
    path.rename(aside)
    caller = platform.api(platform.sign_in())

    def engine() -> str:
        return str({each["version"]: each["state"] for each in caller.expect("GET", "/engines").json()}[VERSION])

    wait_for(lambda: engine() == "damaged", "the damage was not noticed", 30)
    # What was running goes on, and what is forked from it still can be.
    assert answers(platform, "staging")
    refused = caller.call("POST", "/tenants", body={"name": "more", "organization": "acme", "version": VERSION})
    assert refused.status == 422, refused.body
    aside.rename(path)
    wait_for(lambda: engine() == "ready", "the repair was not noticed", 30)
    caller.close()
    assert answers(platform, "older")


def test_an_engine_that_cannot_be_forked_starts_plainly(platform: Platform, place: Path) -> None:
    home = place / "engines" / VERSION
    site = catalog.site_packages(home)
    assert site is not None
    table = site / "nagaya_tenant" / "zenml_0_94_6" / "forks.py"
    for compiled in (table.parent / "__pycache__").glob("forks.*.pyc"):
        compiled.unlink()
    table.unlink()
    record = json.loads((home / "nagaya" / "engine.json").read_text())
    record["fingerprint"] = health.fingerprint(site)
    # As an installation does it: the new record appears by a rename.
    (home / "nagaya" / "new.json").write_text(json.dumps(record))
    (home / "nagaya" / "new.json").rename(home / "nagaya" / "engine.json")

    def plain() -> bool:
        return any(
            each["version"] == VERSION and each["mode"] == "plain" for each in platform.keeper("hello")["engines"]
        )

    wait_for(plain, "the keeper did not notice that the engine cannot be forked")
    platform.keeper("sleep", id=state(platform, "older")["id"])
    assert answers(platform, "older")
    awake = state(platform, "older")
    assert "exec" in awake["timings"]
    if os.getuid() == 0:
        assert Path(f"/proc/{awake['pid']}").stat().st_uid != 0
    os.kill(awake["pid"], 9)
    wait_for(lambda: state(platform, "older")["pid"] not in (None, awake["pid"]), "it was not started again")
    wait_for(lambda: state(platform, "older")["state"] == "awake", "it did not come back")
    assert answers(platform, "older")
    platform.keeper("sleep", id=awake["id"])
    assert not list((platform.data_dir / "tenants" / awake["id"]).glob("zenml.db-*"))
