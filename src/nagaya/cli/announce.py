"""Says that the platform serves, where, and what a person does next."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx

from nagaya.cli.connect import connection_lines
from nagaya.cli.errors import CliError, ExitCode
from nagaya.cli.output import Output

if TYPE_CHECKING:
    from nagaya.cli.bootstrap import BootstrapResult
    from nagaya.runtime.config import PlatformConfig

POLL_SECONDS = 0.1


def announce_when_ready(out: Output, config: PlatformConfig, made: BootstrapResult, *, timeout: float) -> None:
    """Waits until the platform (and the tenant that was asked for) answers, then prints the address and next steps.

    Raises:
        CliError: it does not answer within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    local = local_address(config)
    if not answers(f"{local}/ready", deadline):
        message = f"The platform does not answer after {timeout:g} s; see the logs in {config.log_dir}."
        raise CliError(message, ExitCode.UNAVAILABLE, error="Timeout")
    tenant_ready = True
    if made.organization and made.tenant:
        tenant_ready = answers(f"{local}/t/{made.organization}/{made.tenant}/api/v1/info", deadline)
    if out.as_json:
        out.json(as_json(config, made, tenant_ready=tenant_ready))
        return
    out.plain("\n".join(announcement(config, made)))
    if not tenant_ready:
        message = f"The tenant {made.tenant} does not serve yet: nagaya tenant show {made.organization}/{made.tenant}"
        raise CliError(message, ExitCode.UNAVAILABLE, error="Timeout")


def local_address(config: PlatformConfig) -> str:
    """How this machine itself reaches the gateway; the public URL may lead through a proxy that is not there yet."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)  # noqa: S104  (compared, not bound)
    return f"http://[{host}]:{config.port}" if ":" in host else f"http://{host}:{config.port}"


def answers(url: str, deadline: float) -> bool:
    """Whether `url` answers with 200 before `deadline` (monotonic seconds)."""
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=5, trust_env=False).status_code == 200:
                return True
        except httpx.HTTPError:
            pass
        time.sleep(POLL_SECONDS)
    return False


def announcement(config: PlatformConfig, made: BootstrapResult) -> list[str]:
    """The lines for a person."""
    lines = [f"Nagaya serves at {config.public_url}"]
    if made.setup_url:
        lines += ["", "Set the first administrator's password (this link works once):", f"  {made.setup_url}"]
    elif made.admin_email:
        lines.append(f"Administrator: {made.admin_email}")
    if made.tenant_url:
        lines += ["", f"Tenant {made.organization}/{made.tenant} serves at {made.tenant_url}", ""]
        lines += connection_lines(made.tenant_url, config.public_url, made.version)
    return lines


def as_json(config: PlatformConfig, made: BootstrapResult, *, tenant_ready: bool) -> dict[str, Any]:
    """The stable shape of `nagaya up --json`."""
    tenant = None
    if made.tenant_url:
        tenant = {
            "organization": made.organization,
            "name": made.tenant,
            "server_url": made.tenant_url,
            "version": made.version,
            "ready": tenant_ready,
        }
    return {
        "url": config.public_url,
        "running": True,
        "setup_url": made.setup_url,
        "admin_email": made.admin_email,
        "tenant": tenant,
    }


def in_background(action: Callable[[], None]) -> None:
    """Runs `action` in a grandchild, which nobody has to reap, while this process becomes something else."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    code = 0
    try:
        if os.fork() == 0:
            action()
    except CliError as error:
        os.write(2, f"Error: {error.message}\n".encode())
        code = int(error.code)
    finally:
        # Neither of the two may run what this process has registered for its own exit.
        os._exit(code)
