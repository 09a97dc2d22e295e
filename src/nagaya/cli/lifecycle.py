"""nagaya up, down, restart, status, doctor: the platform on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nagaya.cli.announce import announce_when_ready, as_json, in_background
from nagaya.cli.context import Cli, command
from nagaya.cli.errors import CliError, ExitCode
from nagaya.cli.host import check_certificate, make_config, read_settings, stored_config

if TYPE_CHECKING:
    from nagaya.cli.bootstrap import BootstrapResult, Wanted
    from nagaya.runtime.config import PlatformConfig
    from nagaya.supervisor.control import PlatformStatus

app = typer.Typer()

DataDir = Annotated[
    Path | None, typer.Option(help="Directory of everything that the platform keeps.", show_default=False)
]
READY_TIMEOUT = 120.0
SIGNING_KEY = Path("keys") / "signing.pem"
MARKS = {
    "ok": "[green]✓[/green]",
    "notice": "[blue]i[/blue]",
    "warning": "[yellow]![/yellow]",
    "error": "[red]✗[/red]",
}
"""How `nagaya doctor` shows the state of a finding to people."""


class RestartService(StrEnum):
    """What `nagaya restart` replaces."""

    ALL = "all"
    API = "api"
    GATEWAY = "gateway"
    KEEPER = "keeper"


@command(app)
def up(
    cli: Cli,
    *,
    data_dir: DataDir = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port to listen on.", show_default="8440")] = None,
    public_url: Annotated[str | None, typer.Option(help="The one address that browsers and clients use.")] = None,
    admin_email: Annotated[str | None, typer.Option(help="E-mail address of the first administrator.")] = None,
    organization: Annotated[str | None, typer.Option(help="Create this organization if it does not exist.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Create this tenant in it if it does not exist.")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once it serves; it goes on.")] = False,
) -> None:
    """Start the platform on this machine; the first start makes keys, database and a set-up link."""
    from nagaya.cli.bootstrap import Wanted, bootstrap  # noqa: PLC0415  (imports the database and every table)
    from nagaya.supervisor import layout  # noqa: PLC0415  (only commands about this machine need the supervisor)

    if tenant and not organization:
        raise CliError("--tenant needs --organization: a tenant belongs to one.", ExitCode.USAGE)
    settings = read_settings(data_dir=data_dir, host=host, port=port, public_url=public_url, admin_email=admin_email)
    config = make_config(settings, detach=detach)
    wanted = Wanted(organization, tenant)
    if already_running(cli, config, wanted):
        return
    for warning in check_certificate(config):
        cli.out.note(warning)
    # What is made from here on holds secrets, and tenants' users may enter the data directory.
    os.umask(0o077)
    with supervisor_errors():
        layout.prepare(config)
    password = settings.admin_password.get_secret_value() if settings.admin_password else None
    make = partial(bootstrap, config, admin_email=settings.admin_email, admin_password=password)
    # What an earlier start has made, the api finds by itself: then it need not wait for what may have to be added.
    made = None if detach and (config.data_dir / SIGNING_KEY).exists() else make()
    config.save()
    # Children inherit the environment: they need the settings, and never what is secret. The api reads the database's
    # URL from a file that only its user can read.
    for secret in ("NAGAYA_ADMIN_PASSWORD", "NAGAYA_DATABASE_URL"):
        os.environ.pop(secret, None)
    if detach:
        start_detached(cli, config, made or make, wanted)
    else:
        become_supervisor(cli, config, made or make(), wanted)


def already_running(cli: Cli, config: PlatformConfig, wanted: Wanted) -> bool:
    """Whether a platform runs on this data directory; says so, and creates what is wanted there."""
    state = host_status(config)
    if not state["running"]:
        return False
    if state["state"] == "stopping":
        raise CliError("The platform is just stopping; try again in a moment.", ExitCode.UNAVAILABLE)
    running = stored_config(config.data_dir) or config
    cli.out.note(f"Nagaya is already running at {running.public_url}.")
    if state["outdated"] or any(process["outdated"] for process in state["processes"]):
        cli.out.note("It was started before the code here changed; to take that over without a pause: nagaya restart")
    if wanted.organization:
        from nagaya.cli.bootstrap import BootstrapResult, administrator_token  # noqa: PLC0415

        made = BootstrapResult(token=administrator_token(running))
        announce_when_ready(cli.out, running, made, wanted, timeout=READY_TIMEOUT)
    elif cli.out.as_json:
        cli.out.json(as_json(running, None, None))
    return True


def start_detached(
    cli: Cli, config: PlatformConfig, made: BootstrapResult | Callable[[], BootstrapResult], wanted: Wanted
) -> None:
    """Starts the supervisor in a session of its own and returns when the platform serves.

    Args:
        cli: Where it is said.
        config: The platform.
        made: What the start has made, or what makes it as soon as the platform serves; if that fails, it stops again.
        wanted: What to create then.
    """
    from nagaya.supervisor import control  # noqa: PLC0415

    with supervisor_errors():
        control.start(config, timeout=READY_TIMEOUT)
        if callable(made):
            try:
                made = made()
            except CliError:
                control.stop(config)
                raise
    announce_when_ready(cli.out, config, made, wanted, timeout=READY_TIMEOUT)


def become_supervisor(cli: Cli, config: PlatformConfig, made: BootstrapResult, wanted: Wanted) -> None:
    """Replaces this process by the supervisor, which must stay small; a helper announces the address once it serves."""
    in_background(lambda: announce_when_ready(cli.out, config, made, wanted, timeout=READY_TIMEOUT))
    arguments = [sys.executable, "-m", "nagaya.supervisor.main", str(config.path)]
    os.execv(arguments[0], arguments)  # noqa: S606  (no shell is wanted)


@contextmanager
def supervisor_errors() -> Iterator[None]:
    """Turns what the supervisor says about a failed start or stop into the error of the command."""
    from nagaya.supervisor.errors import SetupError  # noqa: PLC0415

    try:
        yield
    except SetupError as error:
        raise CliError(str(error), ExitCode.UNAVAILABLE, error="SetupError") from error


def host_status(config: PlatformConfig) -> PlatformStatus:
    """What runs on the data directory of `config`."""
    from nagaya.supervisor import control  # noqa: PLC0415

    with supervisor_errors():
        return control.status(config)


def this_platform(data_dir: Path | None) -> PlatformConfig:
    """The configuration of the platform on a data directory.

    Raises:
        CliError: none was ever started there.
    """
    settings = read_settings(data_dir=data_dir)
    config = stored_config(settings.data_dir)
    if config is None:
        raise CliError(f"No platform has been started on {settings.data_dir}: nagaya up", ExitCode.NOT_FOUND)
    return config


@command(app)
def down(
    cli: Cli,
    data_dir: DataDir = None,
    timeout: Annotated[float, typer.Option(min=1, help="Longest wait, seconds.")] = 60,
) -> None:
    """Stop the platform on this machine: tenants, keeper, api, gateway."""
    from nagaya.supervisor import control  # noqa: PLC0415

    config = this_platform(data_dir)
    if host_status(config)["state"] == "stopped":
        cli.out.result("Nagaya is not running.", {"running": False, "stopped": False})
        return
    with supervisor_errors():
        stopped = control.stop(config, timeout=timeout)
    if not stopped:
        raise CliError(f"The platform still runs after {timeout:g} s.", ExitCode.UNAVAILABLE, error="Timeout")
    cli.out.result("Nagaya has stopped.", {"running": False, "stopped": True})


@command(app)
def restart(
    cli: Cli,
    data_dir: DataDir = None,
    service: Annotated[
        RestartService, typer.Option(help="What to replace; `all` also takes the supervisor into the installed code.")
    ] = RestartService.ALL,
    timeout: Annotated[float, typer.Option(min=1, help="Longest wait for each process, seconds.")] = 90,
) -> None:
    """Replace processes of the running platform without losing a request; tenants go on."""
    from nagaya.supervisor import control  # noqa: PLC0415

    config = this_platform(data_dir)
    if host_status(config)["state"] != "running":
        raise CliError("Nagaya is not running here: nagaya up", ExitCode.UNAVAILABLE)
    chosen = ["supervisor", "keeper", "api", "gateway"] if service is RestartService.ALL else [service.value]
    done: list[dict[str, Any]] = []
    for name in chosen:
        cli.out.note(f"Replacing {name} …")
        with supervisor_errors():
            done.append({"service": name, **control.restart(config, name, timeout)})
    if cli.out.as_json:
        cli.out.json(done)
        return
    columns = {"service": "PROCESS", "before": "OLD PID", "pid": "NEW PID", "seconds": "SECONDS"}
    cli.out.table(done, columns, empty="")


@command(app)
def status(cli: Cli, data_dir: DataDir = None) -> None:
    """Show whether the platform on this machine runs, and its processes; exits with 6 when it does not serve."""
    config = this_platform(data_dir)
    state = host_status(config)
    if cli.out.as_json:
        cli.out.json({**state, "data_dir": str(config.data_dir)})
    else:
        cli.out.item(
            {**state, "data_dir": str(config.data_dir)},
            {"url": "URL", "data_dir": "Data directory", "state": "State", "ready": "Serves"},
        )
        if state["processes"]:
            columns = {"name": "PROCESS", "pid": "PID", "state": "STATE", "restarts": "RESTARTS", "code": "CODE"}
            rows = [{**item, "code": "before the upgrade" if item["outdated"] else ""} for item in state["processes"]]
            cli.out.table(rows, columns, empty="")
    if not state["ready"]:
        raise typer.Exit(int(ExitCode.UNAVAILABLE))


@command(app)
def doctor(cli: Cli, data_dir: DataDir = None) -> None:
    """Examine this machine and the platform on it; exits with 1 for warnings, with 2 for errors."""
    from nagaya.cli.doctor import examine  # noqa: PLC0415

    settings = read_settings(data_dir=data_dir)
    findings = list(examine(stored_config(settings.data_dir) or make_config(settings)))
    if cli.out.as_json:
        cli.out.json([finding.as_json() for finding in findings])
    else:
        for finding in findings:
            mark = MARKS[finding.state]
            cli.out.console.print(f"{mark} ", end="")
            cli.out.plain(finding.message + (f" {finding.advice}" if finding.advice else ""))
    states = {finding.state for finding in findings}
    if states & {"warning", "error"}:
        raise typer.Exit(2 if "error" in states else 1)
