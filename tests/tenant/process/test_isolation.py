"""What one tenant process can see of another, of its parent, and what others can see of it."""

from __future__ import annotations

import base64
import os
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from launcher import NETWORK_ATTEMPT

from harness import links_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Tenant, Zygote

root = pytest.mark.skipif(os.getuid() != 0, reason="only root can start tenants under users of their own")
STRANGER = 261_999
TAG = {"name": "x", "exclusive": False, "color": "red"}


@pytest.fixture
def pair(zygote: Zygote, new_tenant: Callable[..., Tenant]) -> tuple[Tenant, Tenant]:
    """Two running tenants; their processes end with the test."""
    tenants = new_tenant(name="red"), new_tenant(name="blue")
    for tenant in tenants:
        line = tenant.start(zygote)
        assert line["ready"], line
    return tenants


def test_a_tenants_token_is_worth_nothing_elsewhere(zygote: Zygote, pair: tuple[Tenant, Tenant]) -> None:
    red, blue = pair
    assert red.request("/api/v1/current-user", token=red.token()).status == 200
    assert red.request("/api/v1/current-user", token=blue.token()).status == 401
    assert blue.request("/api/v1/current-user", token=red.token()).status == 401
    for tenant in pair:
        assert tenant.stop(zygote) == 0


def test_equal_keys_do_not_make_tokens_exchangeable(zygote: Zygote, new_tenant: Callable[..., Tenant]) -> None:
    red, blue = new_tenant(jwt_key="7" * 64), new_tenant(jwt_key="7" * 64)
    red.start(zygote), blue.start(zygote)
    assert blue.request("/api/v1/current-user", token=red.token()).status == 401
    red.stop(zygote), blue.stop(zygote)


def test_each_has_its_own_identity(zygote: Zygote, pair: tuple[Tenant, Tenant]) -> None:
    for tenant in pair:
        info = tenant.request("/api/v1/info").json()
        assert info["id"] == str(tenant.id)
        assert info["metadata"]["workspace_name"] == tenant.name
        assert info["server_url"].endswith(tenant.root_path)
        assert tenant.root_path in tenant.request("/openapi.json").body.decode()
        tenant.stop(zygote)


def test_child_has_only_its_own_descriptors(zygote: Zygote, tenant: Tenant) -> None:
    tenant.request("/api/v1/info")
    links = links_of(tenant.pid)
    files = [link for link in links if link.startswith("/") and not link.startswith("/dev/")]
    inside = [link for link in files if Path(link).is_relative_to(tenant.directory)]
    assert files == inside, "files of somebody else are open"
    assert not [link for link in links if "policy" in link], "the policy descriptor was not closed"
    listening = Path(f"/proc/{tenant.pid}/fd/3").stat().st_ino
    assert listening == os.fstat(tenant.listener.fileno()).st_ino
    # Listener, the event loop's own pair and nothing of the zygote's: its control socket is found by its inode.
    control = {line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines() if "zygote.sock" in line}
    assert not {link.removeprefix("socket:[").rstrip("]") for link in links} & control


def test_process_attributes(zygote: Zygote, tenant: Tenant) -> None:
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{tenant.pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert status["Name"] == f"nagaya {tenant.name}"[:15]
    assert status["NoNewPrivs"] == "1"
    assert status["Umask"] == "0077"
    assert os.getsid(tenant.pid) == tenant.pid
    assert Path(f"/proc/{tenant.pid}/cwd").readlink() == tenant.directory
    if tenant.uid is not None:
        assert status["Uid"].split() == [str(tenant.uid)] * 4
        assert status["Gid"].split() == [str(tenant.uid)] * 4
        assert status["Groups"].strip() == ""
        assert int(status["CapEff"], 16) == 0


@root
@pytest.mark.parametrize("own", [False, True], ids=["stranger", "same user"])
def test_memory_and_environment_are_closed(tenant: Tenant, own: bool) -> None:
    uid = tenant.uid if own else STRANGER
    for name in ("environ", "mem", "maps", "fd/3"):
        found = _as_user(uid, "cat", f"/proc/{tenant.pid}/{name}")
        assert found.returncode != 0, f"{name} can be read"
        assert found.stdout == b""


@root
def test_files_are_closed_to_other_users(tenant: Tenant) -> None:
    tenant.request("/api/v1/info")
    for path in [tenant.directory, *tenant.directory.rglob("*")]:
        assert path.stat().st_uid == tenant.uid
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, f"{path} is open to others"
        assert _as_user(STRANGER, "ls", str(path)).returncode != 0


def test_secrets_are_not_in_the_initial_environment(tenant: Tenant) -> None:
    environ = Path(f"/proc/{tenant.pid}/environ").read_bytes()
    for secret in (tenant.jwt_key, tenant.secrets_key, "channel-token-of-the-test"):
        assert secret.encode() not in environ


def test_stored_secret_is_not_readable_in_the_database(zygote: Zygote, tenant: Tenant) -> None:
    body = {"name": "password", "private": False, "values": {"value": "plainly-visible"}}
    made = tenant.request("/api/v1/secrets", method="POST", token=tenant.token(), body=body)
    assert made.status == 200, made.body
    read = tenant.request(f"/api/v1/secrets/{made.json()['id']}", token=tenant.token())
    assert read.json()["body"]["values"] == {"value": "plainly-visible"}
    tenant.stop(zygote)

    content = tenant.database.read_bytes()
    assert b"plainly-visible" not in content
    assert base64.b64encode(b"plainly-visible")[:16] not in content
    with closing(sqlite3.connect(tenant.database)) as database:
        assert database.execute("SELECT count(*) FROM secret").fetchone() == (1,)


def test_nothing_ever_uses_the_network(zygote: Zygote, tenant: Tenant) -> None:
    """Start, login with an Origin header, reads, writes and stop; every process is watched (see `launcher`)."""
    session, form = tenant.platform.session(), "grant_type=zenml-external"
    origin = {"Origin": "http://dashboard.example.co.uk"}
    login = tenant.request("/api/v1/login", method="POST", token=session, form=form, headers=origin)
    assert login.status == 200
    tenant.request("/api/v1/flavors?size=100", token=tenant.token())
    tenant.request("/api/v1/tags", method="POST", token=tenant.token(), body=TAG)
    tenant.request("/", token=tenant.token())
    tenant.stop(zygote)
    assert NETWORK_ATTEMPT not in tenant.log()
    assert NETWORK_ATTEMPT not in zygote.log.read_text()


def _as_user(uid: int | None, *command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, user=uid, group=uid, extra_groups=[], capture_output=True, cwd="/")
