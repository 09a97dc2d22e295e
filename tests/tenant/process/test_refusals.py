"""Starts that must not happen, and the sentence that the keeper gets instead."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness import DEADLINE, Tenant, launcher
from nagaya_tenant import version

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Zygote

EVERY_NAME = """
import importlib, json, os, sys
from nagaya_tenant import profile
profile.use_placeholders(os.environ)
from nagaya_tenant import hooks, reset, version, zygote
hooks.import_engine()
table = reset.table_for(version.installed())
names = [(m, n) for part in (table.emptied, table.renewed) for m, ns in part.items() for n in ns]
names += [(m, c) for m, c, _ in (*table.singletons, table.metaclass)] + list(table.forbidden)
unnoticed, messages = [], []
for module, name in names:
    owner = importlib.import_module(module)
    saved = vars(owner).pop(name)
    try:
        reset.Reset(version.installed())
        unnoticed.append(f"{module}.{name}")
    except version.UnsupportedEngineError as error:
        messages.append(str(error))
    finally:
        setattr(owner, name, saved)
del sys.modules["zenml.zen_server.middleware"].active_requests_lock
status = zygote.main([sys.argv[1]])
os.write(int(sys.argv[2]), json.dumps({"names": len(names), "unnoticed": unnoticed, "status": status,
                                       "example": messages[0]}).encode())
"""


def test_zygote_notices_every_missing_private_name(tmp_path: Path) -> None:
    read, write = os.pipe()
    command = [sys.executable, "-c", EVERY_NAME, str(tmp_path / "z.sock"), str(write)]
    done = subprocess.run(command, pass_fds=(write,), capture_output=True, text=True)
    os.close(write)
    with os.fdopen(read) as pipe:
        found = json.loads(pipe.read() or "{}")

    assert done.returncode == 0, done.stderr[-2000:]
    assert found["unnoticed"] == []
    assert found["names"] > 25
    assert found["example"].endswith("its tenants must be started plainly.")
    assert found["status"] == 78
    assert "active_requests_lock" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "z.sock").exists()


def test_zygote_refuses_a_version_without_table(tmp_path: Path) -> None:
    environ = {**os.environ, "PRETEND_ENGINE": "0.99.0"}
    command = [*launcher("nagaya_tenant.zygote"), str(tmp_path / "z.sock")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 78
    assert done.stdout == ""
    assert done.stderr.strip().splitlines()[-1].startswith("ZenML 0.99.0 has no reset table (known: 0.94.6, 0.98.0)")


@pytest.mark.parametrize("found", ["0.90.0", None])
def test_database_of_another_version(zygote: Zygote, tenant: Tenant, found: str | None) -> None:
    tenant.stop(zygote)
    with closing(sqlite3.connect(tenant.database, isolation_level=None)) as database:
        database.execute(
            "UPDATE alembic_version SET version_num=?" if found else "DELETE FROM alembic_version",
            (found,) if found else (),
        )
    before = tenant.database.read_bytes()

    line = tenant.start(zygote)
    assert line["ready"] is False
    assert f"is of ZenML {found or 'none'}, but the engine is {version.installed()}" in line["reason"]
    assert zygote.wait(tenant.pid) == 70
    assert tenant.database.read_bytes() == before


def test_file_that_is_no_database(zygote: Zygote, new_tenant: Callable[..., Tenant]) -> None:
    tenant = new_tenant(uid=None)
    tenant.database.write_bytes(b"not a database" * 100)
    line = tenant.start(zygote)
    assert "cannot be read as a ZenML database" in line["reason"]
    assert zygote.wait(tenant.pid) == 70


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({"ZENML_SERVER_DEPLOYMENT_TYPE": "local"}, "ZENML_SERVER_DEPLOYMENT_TYPE must be 'cloud'"),
        ({"ZENML_SERVER_ROOT_URL_PATH": "/t/a/b"}, "ZENML_SERVER_ROOT_URL_PATH must not be set"),
        ({"NAGAYA_TENANT_ID": ""}, "NAGAYA_TENANT_ID is not set"),
        ({"ZENML_SERVER_PRO_ORGANIZATION_ID": "nonsense"}, "organization_id"),
    ],
)
def test_unusable_environment(
    zygote: Zygote, new_tenant: Callable[..., Tenant], extra: dict[str, str], sentence: str
) -> None:
    tenant = new_tenant(extra=extra)
    line = tenant.start(zygote)
    assert line["ready"] is False
    assert sentence in line["reason"]
    for secret in (tenant.jwt_key, tenant.secrets_key, "client-secret-of-the-test", "channel-token-of-the-test"):
        assert secret not in line["reason"]
        assert secret not in tenant.log()
    assert zygote.wait(tenant.pid) == 70


def test_lifespan_failure_gives_its_reason(zygote: Zygote, new_tenant: Callable[..., Tenant]) -> None:
    tenant = new_tenant(extra={"ZENML_STORE_URL": "sqlite:////proc/nowhere/zenml.db"})
    line = tenant.start(zygote)
    assert line["ready"] is False
    assert line["reason"].startswith("RuntimeError: ZenML did not start: ")
    assert zygote.wait(tenant.pid) == 70


def test_log_that_is_a_link_is_not_followed(zygote: Zygote, new_tenant: Callable[..., Tenant], tmp_path: Path) -> None:
    tenant = new_tenant()
    target = tmp_path / "elsewhere"
    target.touch()
    log = tenant.directory / "log"
    log.mkdir()
    (log / "tenant.log").symlink_to(target)
    line = tenant.start(zygote)
    assert line["ready"] is False
    assert target.read_bytes() == b""
    zygote.wait(tenant.pid)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ({"cmd": "dance"}, "Unknown command 'dance'"),
        ({"cmd": "spawn"}, "one that needs descriptors"),
        ({"cmd": "spawn", "env": {"A": "x" * 2000}}, "needs its three descriptors"),
        ([], "not a JSON object"),
    ],
)
def test_unusable_messages(zygote: Zygote, message: Any, sentence: str) -> None:
    assert sentence in zygote.request(message)["error"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"env": None}, "`env` must be an object"),
        ({"env": {"A": 1}}, "`env` must be an object"),
        ({"uid": 0}, "`uid` must be a positive number"),
        ({"dir": ""}, "`dir` must be a text"),
        ({"stamp": {"template": "/x"}}, "stamp order is not usable"),
    ],
)
def test_unusable_orders(zygote: Zygote, new_tenant: Callable[..., Tenant], change: Any, sentence: str) -> None:
    tenant = new_tenant()
    tenant.order = lambda: {**Tenant.order(tenant), **change}
    line = tenant.start(zygote)
    assert line["ready"] is False
    assert sentence in line["reason"]
    assert zygote.wait(tenant.pid) == 70


def test_wrong_number_of_descriptors(zygote: Zygote, new_tenant: Callable[..., Tenant]) -> None:
    tenant = new_tenant()
    pid = zygote.request(tenant.order(), (tenant.listener.fileno(),))["pid"]
    assert zygote.wait(pid) == 70
    assert not tenant.database.exists()


def test_no_secret_of_one_tenant_is_left_for_the_next(zygote: Zygote, new_tenant: Callable[..., Tenant]) -> None:
    """The next child inherits the zygote's memory, so what it must not know must not be there."""
    tenant = new_tenant()
    assert tenant.start(zygote)["ready"]
    tenant.stop(zygote)
    memory = writable_memory(zygote.process.pid)
    assert b"nagaya: dry run" in memory, "the memory was not read"
    for secret in (tenant.jwt_key, tenant.secrets_key):
        assert secret.encode() not in memory


def test_truncated_message_is_refused(zygote: Zygote) -> None:
    connection = zygote.connect()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    try:
        connection.send(json.dumps({"cmd": "ping", "x": "y" * (1 << 18)}).encode())
    except OSError:
        pytest.skip("the kernel's largest message is smaller than ours")
    assert "is longer than" in json.loads(connection.recv(1 << 16))["error"]
    connection.close()


@pytest.mark.parametrize("environ", [{}, {"NAGAYA_FDS": "3,4"}, {"NAGAYA_FDS": "3,4,x"}])
def test_plain_start_without_an_order(environ: dict[str, str]) -> None:
    command = launcher("nagaya_tenant.plain")
    done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 64
    assert done.stderr.startswith("NAGAYA_FDS must name three descriptors")


def writable_memory(pid: int) -> bytes:
    """All private writable memory of a process."""
    found = []
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            span, mode, *_ = line.split()
            if mode.startswith("rw") and "[v" not in line:
                start, end = (int(address, 16) for address in span.split("-"))
                memory.seek(start)
                found.append(memory.read(end - start))
    return b"".join(found)
