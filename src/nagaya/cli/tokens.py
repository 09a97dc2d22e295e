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


def keys_path(cli: Cli, service_account: str | None) -> str:
    """The collection of API keys of the caller or of a service account.

    Raises:
        CliError: the service account is not written as `organization/name`, or does not exist.
    """
    if service_account is None:
        return "/users/me/api_keys"
    home_name, slash, name = service_account.partition("/")
    if not slash:
        raise CliError("Write the service account as ORGANIZATION/NAME.", ExitCode.USAGE)
    home = resolve.organization(cli.api, home_name)
    accounts = list(cli.api.pages(f"/organizations/{home['id']}/service_accounts"))
    for account in accounts:
        if name in (account.get("username"), account.get("name"), account["id"]):
            return f"/organizations/{home['id']}/service_accounts/{account['id']}/api_keys"
    names = [str(account.get("username") or account.get("name")) for account in accounts]
    message = f"{home['name']} has no service account {name}.{did_you_mean(name, names)}"
    raise CliError(message, ExitCode.NOT_FOUND)


@command(app, "list")
def list_(cli: Cli, service_account: ServiceAccount = None) -> None:
    """List API keys; the keys themselves are shown only once, when they are made."""
    rows = list(cli.api.pages(keys_path(cli, service_account)))
    cli.out.table(rows, COLUMNS, empty="No API keys. nagaya token create NAME")


@command(app)
def create(
    cli: Cli,
    name: Annotated[str, typer.Argument(help="What it is for, such as ci.")],
    expires_in_days: Annotated[int | None, typer.Option(min=1, help="Days until it expires.")] = None,
    service_account: ServiceAccount = None,
) -> None:
    """Make an API key and print it, once. With --json the key is in the field `key`."""
    body: dict[str, Any] = {"name": name}
    if expires_in_days:
        body["expires"] = (dt.datetime.now(dt.UTC) + dt.timedelta(days=expires_in_days)).isoformat()
    made = cli.api.post(keys_path(cli, service_account), body)
    if cli.out.as_json:
        cli.out.json(made)
        return
    cli.out.note("Keep this key now; it cannot be shown again:")
    cli.out.plain(str(made["key"]))


@command(app)
def revoke(
    cli: Cli,
    name: Annotated[str, typer.Argument(help="Name or id of the key.")],
    service_account: ServiceAccount = None,
) -> None:
    """Revoke an API key: it and all tokens that came out of it stop working at once."""
    path = keys_path(cli, service_account)
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
