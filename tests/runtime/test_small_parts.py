"""Configuration, state files, user ids, back-off, limiter, environment and specs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import uuid
from pathlib import Path

import pytest

from nagaya.runtime.config import LONGEST_SOCKET_NAME, SOCKET_PATH_LIMIT, ConfigError, PlatformConfig, default_run_dir
from nagaya.runtime.files import StateFileError, read_json, write_json
from nagaya.runtime.interface import RuntimeFailure, TenantSpec, TenantState
from nagaya.runtime.local.backoff import Backoff
from nagaya.runtime.local.environment import Secrets, build_spawn, process_name, readdressed
from nagaya.runtime.local.limiter import WakeLimiter
from nagaya.runtime.local.processes import descendants_of_user, end_user
from nagaya.runtime.local.uids import UidAllocator, UidsExhaustedError, private_directory
from tests.runtime.support import wait_for


def a_spec(**values: object) -> dict[str, object]:
    base = {
        "id": str(uuid.uuid4()), "organization_id": str(uuid.uuid4()), "organization": "acme", "tenant": "staging",
        "engine": "0.98.0", "generation": 1, "desired": "running", "public_url": "http://h", "server_url": "http://h/t/a/s",
        "root_path": "/t/a/s", "api_url": "http://h/api/v1", "dashboard_url": "http://h/o/a",
    }  # fmt: skip
    return base | values


class TestAddresses:
    def test_a_cached_info_is_given_the_new_addresses(self) -> None:
        before = TenantSpec.from_json(a_spec())
        own = {
            "server_url": "https://s--a.h",
            "root_path": "",
            "api_url": "https://h/api/v1",
            "dashboard_url": "https://h/o/a",
        }
        after = TenantSpec.from_json(a_spec(**own))
        info = {
            "server_url": "http://h/t/a/s", "pro_api_url": "http://h/api/v1", "pro_dashboard_url": "http://h/o/a",
            "dashboard_url": "http://h/o/a/workspaces/staging", "version": "0.98.0", "metadata": {"x": "http://h/t/a/s"},
        }  # fmt: skip
        assert readdressed(info, before, after) == {
            "server_url": "https://s--a.h", "pro_api_url": "https://h/api/v1", "pro_dashboard_url": "https://h/o/a",
            "dashboard_url": "https://h/o/a/workspaces/staging", "version": "0.98.0", "metadata": {"x": "http://h/t/a/s"},
        }  # fmt: skip
        assert readdressed({"version": "0.98.0"}, before, after) == {"version": "0.98.0"}


class TestFiles:
    def test_what_was_written_is_read_again_with_its_mode(self, tmp_path: Path) -> None:
        write_json(tmp_path / "a.json", {"x": 1}, mode=0o640)
        assert read_json(tmp_path / "a.json") == {"x": 1}
        assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o640

    def test_absent_is_none_and_damaged_is_an_error_that_names_the_file(self, tmp_path: Path) -> None:
        assert read_json(tmp_path / "a.json") is None
        for content in ("{", "[]"):
            (tmp_path / "a.json").write_text(content)
            with pytest.raises(StateFileError, match=r"a\.json is damaged"):
                read_json(tmp_path / "a.json")

    def test_a_value_that_cannot_be_written_leaves_the_old_one(self, tmp_path: Path) -> None:
        write_json(tmp_path / "a.json", {"x": 1})
        with pytest.raises(TypeError):
            write_json(tmp_path / "a.json", {"x": object()})
        assert read_json(tmp_path / "a.json") == {"x": 1}
        assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


class TestConfig:
    def test_it_survives_a_round_trip_and_keeps_the_database_url_apart(self, place: Path) -> None:
        config = PlatformConfig.create(place / "d", run_dir=place / "r", database_url="postgresql://u:pw@h/d")
        config.save()
        assert PlatformConfig.load(config.path) == config
        assert "pw" not in config.path.read_text()
        assert stat.S_IMODE((place / "r" / "api.json").stat().st_mode) == 0o600

    def test_a_long_data_directory_gets_a_short_run_directory(self, tmp_path: Path) -> None:
        assert default_run_dir(Path("/srv/nagaya")) == Path("/srv/nagaya/run")
        found = default_run_dir(Path("/" + "x" * 90))
        assert len(os.fsencode(found)) + LONGEST_SOCKET_NAME <= SOCKET_PATH_LIMIT
        assert found != default_run_dir(Path("/" + "y" * 90))

    def test_settings_that_cannot_work_are_refused(self, place: Path) -> None:
        with pytest.raises(ConfigError, match="too long"):
            PlatformConfig.create(place, run_dir=Path("/" + "x" * 90))
        with pytest.raises(ConfigError, match="not a range"):
            PlatformConfig.create(place, run_dir=place, tenant_uids=(5, 4))
        with pytest.raises(ConfigError, match="outside tenant_uids"):
            PlatformConfig.create(place, run_dir=place, service_uid=9, tenant_uids=(10, 20))

    def test_a_missing_damaged_or_foreign_file_is_explained(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="nagaya up"):
            PlatformConfig.load(tmp_path / "config.json")
        (tmp_path / "config.json").write_text("{")
        with pytest.raises(ConfigError, match="damaged"):
            PlatformConfig.load(tmp_path / "config.json")
        (tmp_path / "config.json").write_text('{"colour": 1}')
        with pytest.raises(ConfigError, match="colour"):
            PlatformConfig.load(tmp_path / "config.json")


class TestSpec:
    def test_round_trip_ignores_what_a_newer_api_adds(self) -> None:
        spec = TenantSpec.from_json(a_spec(novelty=1))
        assert TenantSpec.from_json(spec.to_json()) == spec

    @pytest.mark.parametrize(
        ("field", "value", "sentence"),
        [
            ("id", "../../etc", "badly formed"),
            ("id", str(uuid.uuid4()).upper().replace("-", ""), "usual form"),
            ("engine", "../0.98.0", "engine version"),
            ("desired", "paused", "running, stopped or deleted"),
            ("generation", -1, "negative"),
            ("generation", "x", "wrong type"),
            ("idle_seconds", 0, "positive"),
        ],
    )
    def test_wrong_fields_are_named(self, field: str, value: object, sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            TenantSpec.from_json(a_spec(**{field: value}))

    def test_missing_fields_are_named(self) -> None:
        with pytest.raises(ValueError, match="lacks engine"):
            TenantSpec.from_json({key: value for key, value in a_spec().items() if key != "engine"})

    def test_only_some_changes_need_a_new_process(self) -> None:
        spec = TenantSpec.from_json(a_spec())
        same = TenantSpec.from_json(spec.to_json() | {"generation": 9, "idle_seconds": 5, "hibernate": False})
        assert not spec.needs_new_process(same)
        assert spec.needs_new_process(TenantSpec.from_json(spec.to_json() | {"engine": "0.99.0"}))

    def test_a_state_round_trips(self) -> None:
        state = TenantState(id="a", organization="o", tenant="t", engine="e", generation=1, state="awake")
        assert TenantState.from_json(json.loads(json.dumps(state.to_json())) | {"new": 1}) == state


class TestUids:
    def test_each_tenant_keeps_its_own_and_freed_ones_do_not_return(self, tmp_path: Path) -> None:
        allocator = UidAllocator(tmp_path / "uids.json", (100, 102))
        assert [allocator.assign(name) for name in ("a", "b", "a")] == [100, 101, 100]
        allocator.release("b")
        allocator.release("unknown")
        again = UidAllocator(tmp_path / "uids.json", (100, 102))
        assert [again.assign("a"), again.assign("c")] == [100, 102]
        with pytest.raises(UidsExhaustedError, match="100 to 102"):
            again.assign("d")

    def test_a_number_that_could_not_be_recorded_is_not_given_out(self, tmp_path: Path) -> None:
        allocator = UidAllocator(tmp_path / "missing" / "uids.json", (100, 102))
        with pytest.raises(OSError, match="No such file"):
            allocator.assign("a")
        (tmp_path / "missing").mkdir()
        assert allocator.assign("b") == 100

    def test_without_a_range_there_are_none(self, tmp_path: Path) -> None:
        assert UidAllocator(tmp_path / "uids.json", None).assign("a") is None

    def test_a_planted_link_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "victim").mkdir(mode=0o755)
        (tmp_path / "link").symlink_to(tmp_path / "victim")
        with pytest.raises(OSError, match=r"link|directory"):
            private_directory(tmp_path / "link", None)
        assert stat.S_IMODE((tmp_path / "victim").stat().st_mode) == 0o755


def test_backoff_grows_forgets_and_gives_a_verdict() -> None:
    clock = [0.0]
    backoff = Backoff(base=1, limit=5, failures=4, window=100, now=lambda: clock[0])
    delays = []
    for _ in range(3):
        assert not backoff.failed()
        delays.append(backoff.delay)
    assert delays[0] < delays[1] < delays[2]
    assert backoff.failed()
    assert backoff.delay <= 5 * 1.25
    clock[0] = 1000
    assert not backoff.failed()
    assert backoff.count == 1
    backoff.reset()
    assert (backoff.delay, backoff.count) == (0, 0)


def test_the_limiter_queues_and_then_says_busy() -> None:
    async def scenario() -> None:
        limiter = WakeLimiter(1, 1)
        release = asyncio.Event()

        async def hold() -> None:
            async with limiter.slot():
                await release.wait()

        first, second = asyncio.create_task(hold()), asyncio.create_task(hold())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(RuntimeFailure, match="2 seconds") as caught:
            await hold()
        assert caught.value.code == "busy"
        release.set()
        await asyncio.gather(first, second)
        await hold()

    asyncio.run(scenario())


def test_the_spawn_message_carries_secrets_only_in_the_environment() -> None:
    spec = TenantSpec.from_json(a_spec())
    secrets = Secrets(jwt="J", secrets_store="S", channel="C", client="L")
    message = build_spawn(
        spec, secrets, directory=Path("/d/t"), channel=Path("/r/channel.sock"), template=Path("/e/t.db"), uid=7
    )
    environment = message["env"]
    assert environment["ZENML_SECRETS_STORE_TYPE"] == "sql"
    assert environment["DISABLE_DATABASE_MIGRATION"] == "true"
    assert int(environment["ZENML_SERVER_API_TRANSACTION_CLEANUP_INTERVAL"]) > 60, "it wakes idle tenants"
    assert "ZENML_SERVER_ROOT_URL_PATH" not in environment
    assert all(isinstance(value, str) for value in environment.values())
    assert message["stamp"]["server_id"] == spec.id
    assert message["name"] == process_name(spec.id)
    assert len(message["name"]) == 15
    assert "S" not in repr(secrets).removeprefix("Secrets")


@pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root")
def test_what_a_user_left_behind_is_ended_and_nobody_else() -> None:
    uid = 3_000_000 + os.getpid()
    other = subprocess.Popen(["sleep", "300"], user=uid + 10_000_000, group=uid)
    script = "setsid sleep 300 & setsid sh -c 'sleep 300 & sleep 300' & exec sleep 300"
    first = subprocess.Popen(["sh", "-c", script], user=uid, group=uid, extra_groups=[])
    try:
        wait_for(lambda: len(descendants_of_user(uid)) == 5)
        end_user(uid)
        assert descendants_of_user(uid) == set()
        assert first.wait(5) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
