"""nagaya token: your API keys, and those of service accounts."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import typer

from nagaya.cli import resolve
from nagaya.cli.context import Cli, command
from nagaya.cli.errors import CliError, ExitCode, did_you_mean

app = typer.Typer(no_args_is_help=True, help="API keys, for scripts and continuous integration.")

ServiceAccount = Annotated[
    str | None, typer.Option(metavar="ORGANIZATION/NAME", help="Keys of this service account instead of yours.")
]
COLUMNS = {
    "name": "NAME",
    "hint": "ENDS WITH",
    "is_active": "ACTIVE",
    "expires": "EXPIRES",
    "last_used": "LAST USED",
    "created": "CREATED",
}


Name = Annotated[str, typer.Argument(help="What it is for, such as ci.")]
Key = Annotated[str, typer.Argument(help="Name or id of the key.")]
Days = Annotated[int | None, typer.Option(min=1, help="Days until it expires; 90 if not given.")]


def keys_path(cli: Cli, service_account: str | None) -> str:
    """The collection of API keys of the caller or of a service account.

    Raises:
        CliError: the service account is not written as `organization/name`, or does not exist.
    """
    if service_account is None:
        return "/users/me/api_keys"
    account = resolve.service_account(cli.api, service_account)
    return f"/organizations/{account['organization_id']}/service_accounts/{account['id']}/api_keys"


def show_keys(cli: Cli, path: str, hint: str) -> None:
    """Prints a collection of API keys; `hint` says how to make one."""
    cli.out.table(list(cli.api.pages(path)), COLUMNS, empty=f"No API keys. {hint}")


def make_key(cli: Cli, path: str, name: str, days: int | None) -> None:
    """Makes an API key in a collection and prints it, alone on standard output."""
    body: dict[str, Any] = {"name": name}
    if days:
        body["expires"] = (dt.datetime.now(dt.UTC) + dt.timedelta(days=days)).isoformat()
    made = cli.api.post(path, body)
    if cli.out.as_json:
        cli.out.json(made)
        return
    cli.out.note("Keep this key now; it cannot be shown again:")
    cli.out.plain(str(made["key"]))


def revoke_key(cli: Cli, path: str, name: str) -> None:
    """Revokes the one key of a collection that has this name or id.

    Raises:
        CliError: there is none, or there are several.
    """
    keys = list(cli.api.pages(path))
    found = [key for key in keys if name in (key["name"], key["id"])]
    if not found:
        names = [key["name"] for key in keys]
        raise CliError(f"There is no API key {name}.{did_you_mean(name, names)}", ExitCode.NOT_FOUND)
    if len(found) > 1:
        ids = ", ".join(key["id"] for key in found)
        raise CliError(f"There are several API keys {name}: say which id of {ids}.", ExitCode.USAGE)
    cli.api.delete(f"{path}/{found[0]['id']}")
    cli.out.result(f"The API key {found[0]['name']} has been revoked.", {"id": found[0]["id"], "revoked": True})


@command(app, "list")
def list_(cli: Cli, service_account: ServiceAccount = None) -> None:
    """List API keys; the keys themselves are shown only once, when they are made."""
    show_keys(cli, keys_path(cli, service_account), "nagaya token create NAME")


@command(app)
def create(cli: Cli, name: Name, expires_in_days: Days = None, service_account: ServiceAccount = None) -> None:
    """Make an API key and print it, once. With --json the key is in the field `key`."""
    make_key(cli, keys_path(cli, service_account), name, expires_in_days)


@command(app)
def revoke(cli: Cli, name: Key, service_account: ServiceAccount = None) -> None:
    """Revoke an API key: it and all tokens that came out of it stop working at once."""
    revoke_key(cli, keys_path(cli, service_account), name)
