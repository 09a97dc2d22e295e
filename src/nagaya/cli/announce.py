"""Says that the platform serves, where, and what a person does next; creates what `nagaya up` was asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nagaya.cli import resolve
from nagaya.cli.bootstrap import BootstrapResult, Wanted, create_wanted
from nagaya.cli.client import ApiClient
from nagaya.cli.connect import connection_lines
from nagaya.cli.errors import CliError, ExitCode
from nagaya.cli.output import Output
from nagaya.tls import own_context

if TYPE_CHECKING:
    from nagaya.runtime.config import PlatformConfig

POLL_SECONDS = 0.1


def announce_when_ready(
    out: Output, config: PlatformConfig, made: BootstrapResult, wanted: Wanted, *, timeout: float
) -> None:
    """Waits until the platform answers, creates what is wanted, and prints the address and the next steps.

    Raises:
        CliError: the platform does not answer within `timeout` seconds, or refuses what is wanted.
    """
    from nagaya.supervisor import control  # noqa: PLC0415

    deadline = time.monotonic() + timeout
    while not control.is_ready(config):
        if time.monotonic() > deadline:
            message = f"The platform does not answer after {timeout:g} s; see the logs in {config.log_dir}."
            raise CliError(message, ExitCode.UNAVAILABLE, error="Timeout")
        time.sleep(POLL_SECONDS)
    if not out.as_json:
        out.plain("\n".join(announcement(config, made)))
    tenant = None
    if wanted.organization and made.token:
        tenant = with_administrator(config, made.token, lambda api: create_wanted(api, out, wanted, timeout=timeout))
    elif wanted.organization:
        named = f"{wanted.organization}/{wanted.tenant}" if wanted.tenant else wanted.organization
        out.note(f"Open the link first, then call the same `nagaya up` once more: it creates {named}.")
    if out.as_json:
        out.json(as_json(config, made, tenant))
    elif tenant:
        out.plain("\n".join(tenant_announcement(config, tenant)))


def with_administrator(
    config: PlatformConfig, token: str, action: Callable[[ApiClient], resolve.Json | None]
) -> resolve.Json | None:
    """Runs `action` with a client that reaches the gateway from this machine, whatever the public URL leads through."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)  # noqa: S104  (compared, not bound)
    scheme = "https" if config.tls_certificate is not None else "http"
    address = f"{scheme}://[{host}]:{config.port}" if ":" in host else f"{scheme}://{host}:{config.port}"
    verify = own_context(config.tls_certificate) if config.tls_certificate is not None else None
    client = ApiClient(address, token, host=urlsplit(config.public_url).netloc, verify=verify)
    try:
        return action(client)
    finally:
        client.close()


def announcement(config: PlatformConfig, made: BootstrapResult) -> list[str]:
    """The lines for a person about the platform."""
    lines = [f"Nagaya serves at {config.public_url}"]
    if made.setup_url:
        lines += ["", "Become the first administrator (this link works once):", f"  {made.setup_url}"]
    elif made.admin_email:
        lines.append(f"Administrator: {made.admin_email}")
    return lines


def tenant_announcement(config: PlatformConfig, tenant: resolve.Json) -> list[str]:
    """The lines for a person about the tenant that was asked for."""
    version = (tenant["zenml_service"].get("configuration") or {}).get("version")
    head = f"Tenant {resolve.full_name(tenant)} is {tenant['status']} at {tenant['url']}"
    return ["", head, "", *connection_lines(tenant["url"], config.public_url, version)]


def as_json(config: PlatformConfig, made: BootstrapResult | None, tenant: resolve.Json | None) -> dict[str, Any]:
    """The stable shape of `nagaya up --json`; `made` is None for a platform that ran already."""
    return {
        "url": config.public_url,
        "running": True,
        "setup_url": made.setup_url if made else None,
        "admin_email": made.admin_email if made else None,
        "tenant": tenant,
    }


def in_background(action: Callable[[], None]) -> None:
    """Runs `action` in a grandchild, which nobody has to reap, while this process becomes something else."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        if os.fork() == 0:
            action()
    except CliError as error:
        os.write(2, f"Error: {error.message}\n".encode())
    finally:
        # Neither of the two may run what this process has registered for its own exit.
        os._exit(0)
