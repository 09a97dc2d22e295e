"""What stands in the way of a start is said in one sentence; sockets, layout, record and lock."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.local.processes import ProcessIdentity
from nagaya.supervisor import control, layout, view
from nagaya.supervisor.errors import SetupError
from nagaya.supervisor.record import ServiceRecord, SupervisorRecord, lock_is_held, take_lock
from nagaya.supervisor.sockets import announce, bind_all, inherited_sockets
from tests.supervisor.support import Platform, free_port, platform_config


def config_at(place: Path, **settings: object) -> PlatformConfig:
    config = PlatformConfig.create(place / "d", port=free_port(), **settings)
    layout.prepare(config)
    return config


def test_a_taken_port_is_named(place: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        platform = Platform(platform_config(place, port=port))
        with pytest.raises(SetupError, match=f"Port {port} on 127.0.0.1 is taken"):
            control.start(platform.config, detach=True, timeout=20)
        assert platform.processes() == set()


@pytest.mark.parametrize(
    ("host", "sentence"),
    [("no.such.host.invalid", "not known here"), ("203.0.113.7", "not an address of this machine")],
)
def test_an_address_that_is_not_ours_is_named(place: Path, host: str, sentence: str) -> None:
    with pytest.raises(SetupError, match=sentence):
        bind_all(config_at(place, host=host))


def test_a_newer_format_is_refused(place: Path) -> None:
    config = config_at(place)
    (config.data_dir / "instance.json").write_text(json.dumps({"format": 99, "version": "7.0.0"}))
    with pytest.raises(SetupError, match=r"written by Nagaya 7\.0\.0, which is newer"):
        layout.prepare(config)
    (config.data_dir / "instance.json").write_text("{")
    with pytest.raises(SetupError, match="backup"):
        layout.prepare(config)


def test_what_is_no_directory_is_named(place: Path) -> None:
    (place / "d").write_text("")
    with pytest.raises(SetupError, match="not a directory"):
        config_at(place)


def test_a_link_in_the_data_directory_is_refused(place: Path) -> None:
    config = config_at(place)
    (config.data_dir / "log").rmdir()
    (config.data_dir / "log").symlink_to("/")
    with pytest.raises(SetupError, match="symbolic link"):
        layout.prepare(config)


def test_a_full_or_read_only_disk_is_named(place: Path) -> None:
    full = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)]
    read_only = ["mount", "-t", "tmpfs", "-o", "ro", "none", str(place)]
    program = (
        "import sys; from pathlib import Path; from nagaya.runtime.config import PlatformConfig\n"
        "from nagaya.supervisor import layout\n"
        f"layout.prepare(PlatformConfig.create(Path({str(place / 'd')!r})))"
    )
    for mount, sentence in ((full, "is full"), (read_only, "read-only disk")):
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", '"$@" && exec "$PYTHON" -c "$PROGRAM"', "sh", *mount],
            env=os.environ | {"PYTHON": sys.executable, "PROGRAM": program},
            capture_output=True,
            text=True,
        )
        if "unshare:" in done.stderr or "mount:" in done.stderr:
            pytest.skip(f"no mount namespaces here: {done.stderr.strip()}")
        assert sentence in done.stderr


def test_too_few_files_are_refused(place: Path) -> None:
    program = (
        "import resource; from pathlib import Path; from nagaya.runtime.config import PlatformConfig\n"
        "from nagaya.supervisor import layout\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))\n"
        f"layout.prepare(PlatformConfig.create(Path({str(place / 'd')!r})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "Only 100 files may be open" in done.stderr
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 100


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a directory of another user")
def test_a_directory_of_another_user_is_named(place: Path) -> None:
    (place / "d").mkdir(mode=0o700)
    program = (
        "from pathlib import Path; from nagaya.runtime.config import PlatformConfig\n"
        "from nagaya.supervisor import layout; import os; os.setresuid(65534, 65534, 65534)\n"
        f"layout.prepare(PlatformConfig.create(Path({str(place / 'd')!r})))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("nagaya.supervisor.errors.SetupError: ")
    assert str(place / "d") in last
    assert "choose another data directory or start as its owner" in last


def test_sockets_are_handed_on_by_name(place: Path) -> None:
    config = config_at(place)
    sockets = bind_all(config)
    variable, descriptors = announce(sockets, ["api", "keeper"])
    program = (
        "from nagaya.supervisor.sockets import inherited_sockets\n"
        "print({name: item.getsockname() for name, item in inherited_sockets().items()})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | variable, pass_fds=descriptors, capture_output=True, text=True
    )
    assert str(config.socket("api")) in done.stdout
    assert str(config.socket("keeper")) in done.stdout
    for item in sockets.values():
        item.close()


def test_a_descriptor_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAGAYA_SOCKETS", '{"api": 987}')
    with pytest.raises(SetupError, match="not open"):
        inherited_sockets()


def test_record_and_lock(place: Path) -> None:
    config = config_at(place)
    own = ProcessIdentity.of(os.getpid())
    assert own is not None
    record = SupervisorRecord(own, services={"api": ServiceRecord(own, 2), "keeper": ServiceRecord(None)})
    assert SupervisorRecord.read(config.run_dir) is None
    record.write(config)
    assert SupervisorRecord.read(config.run_dir) == record
    SupervisorRecord.path(config.run_dir).write_text("{")
    assert SupervisorRecord.read(config.run_dir) is None
    assert not lock_is_held(config.run_dir)
    lock = take_lock(config.run_dir)
    assert lock is not None
    assert lock_is_held(config.run_dir)
    os.close(lock)
    assert not lock_is_held(config.run_dir)


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace needs root here")
def test_closed_directories_open_in_the_view_only_for_what_is_needed(place: Path) -> None:
    inner = place / "closed" / "between" / "deeper" / "data"
    inner.mkdir(parents=True)
    (place / "closed" / "secret").write_text("secret")
    (place / "closed").chmod(0o700)
    (place / "closed" / "between" / "deeper").chmod(0o700)
    program = (
        "import os, sys; from pathlib import Path; from nagaya.runtime.config import PlatformConfig\n"
        "from nagaya.supervisor import layout, view\n"
        f"config = PlatformConfig.create(Path({str(inner)!r}), run_dir=Path({str(place / 'r')!r}))\n"
        "layout.prepare(config)\n"
        "print(view.enter(config), view.enter(config)); sys.stdout.flush()\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "print(os.path.exists(config.data_dir / 'tenants'), os.path.exists(sys.executable))\n"
        f"print(os.path.exists({str(place / 'closed' / 'secret')!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if "not permit" in done.stderr:
        pytest.skip("no mount namespaces here")
    assert done.stdout.split() == ["True", "False", "True", "True", "False"], done.stderr
    assert (place / "closed" / "secret").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="closed directories matter to root only")
def test_where_no_view_is_permitted_the_sentence_says_what_to_do(place: Path) -> None:
    (place / "closed").mkdir(mode=0o700)
    program = (
        "import ctypes; from pathlib import Path; from nagaya.runtime.config import PlatformConfig\n"
        "from nagaya.supervisor import layout, view\n"
        f"config = PlatformConfig.create(Path({str(place / 'closed' / 'd')!r}))\n"
        "layout.prepare(config); view.enter(config)"
    )
    done = subprocess.run(
        ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-c", program], capture_output=True, text=True
    )
    assert "chmod o+x" in done.stderr


def test_an_ordinary_user_needs_no_view(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not view.enter(PlatformConfig.create(place / "d"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has several users")
def test_as_root_no_directory_of_several_users_is_sticky_or_open_to_writers(place: Path) -> None:
    config = config_at(place)
    service = config.service_uid
    expected = {".": (0, 0o711), "control": (service, 0o700), "keys": (service, 0o700), "keeper": (0, 0o700)}
    expected |= {"tenants": (0, 0o711), "log": (0, 0o700), "run": (0, 0o711), "run/t": (0, 0o710)}
    found = {}
    for path in [config.data_dir, *config.data_dir.rglob("*")]:
        if path.is_dir():
            status = path.stat()
            found[str(path.relative_to(config.data_dir))] = (status.st_uid, status.st_mode & 0o7777)
    assert found == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_the_api_what_a_backup_left_to_root_but_no_file_of_others(place: Path) -> None:
    config = config_at(place)
    victim = place / "victim"
    victim.touch()
    (config.control_dir / "control.db").touch()
    (config.control_dir / "control.db-wal").symlink_to(victim)
    (config.control_dir / "control.db-shm").hardlink_to(victim)
    os.mkfifo(config.control_dir / "pipe")
    layout.prepare(config)
    assert (config.control_dir / "control.db").stat().st_uid == config.service_uid
    assert victim.stat().st_uid == 0
