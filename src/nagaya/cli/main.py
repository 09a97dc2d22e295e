"""Entry point of `nagaya`: puts the commands together and turns every error into one sentence and an exit code."""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from nagaya import __version__
from nagaya.cli import (
    backups,
    context,
    engines,
    invitations,
    lifecycle,
    login,
    operations,
    organizations,
    roles,
    service_accounts,
    teams,
    tenants,
    tokens,
    users,
)
from nagaya.cli.errors import CliError, ExitCode

app = typer.Typer(
    name="nagaya",
    help="Run a Nagaya platform, and work with the tenants on one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(value: bool) -> None:
    """Prints the version and ends."""
    if value:
        typer.echo(f"nagaya {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run a Nagaya platform, and work with the tenants on one."""


app.add_typer(lifecycle.app)
app.add_typer(login.app)
app.add_typer(organizations.app, name="org")
app.add_typer(teams.app, name="team")
app.add_typer(invitations.app, name="invitation")
app.add_typer(roles.app, name="role")
app.add_typer(tenants.app, name="tenant")
app.add_typer(operations.app, name="operation")
app.add_typer(backups.app, name="backup")
app.add_typer(tokens.app, name="token")
app.add_typer(service_accounts.app, name="service-account")
app.add_typer(users.app, name="user")
app.add_typer(engines.app, name="engine")


def report(error: CliError) -> None:
    """Prints an error on standard error: a sentence, or JSON with `--json`."""
    cli = context.last[0] if context.last else None
    if cli and cli.out.as_json:
        body: dict[str, Any] = {"error": error.error, "detail": error.message, "exit_code": int(error.code)}
        sys.stderr.write(json.dumps(body, ensure_ascii=False) + "\n")
        return
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]Error:[/red] {escape(error.message)}")


def wants_debug() -> bool:
    """Whether tracebacks are asked for."""
    return bool(os.environ.get("NAGAYA_DEBUG")) or bool(context.last and context.last[0].debug)


def main() -> int:
    """Runs the command line and returns its exit code."""
    context.last.clear()
    try:
        app(prog_name="nagaya")
    except CliError as error:
        if wants_debug():
            traceback.print_exc()
        report(error)
        return int(error.code)
    except BrokenPipeError:
        # The reader has gone (`nagaya tenant list | head`); Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ExitCode.ERROR if ended.code else ExitCode.OK)
    except Exception as error:
        if wants_debug():
            traceback.print_exc()
        what = f"{type(error).__name__}: {error}".strip().splitlines()[0].rstrip(".: ")
        report(CliError(f"Something went wrong that nagaya did not expect: {what}. --debug shows where."))
        return int(ExitCode.ERROR)
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
