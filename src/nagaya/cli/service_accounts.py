"""nagaya service-account: machines that act in an organization, and their API keys."""

from __future__ import annotations

from typing import Annotated

import typer

from nagaya.cli import resolve, tokens
from nagaya.cli.context import Cli, command
from nagaya.cli.errors import CliError, ExitCode

app = typer.Typer(no_args_is_help=True, help="Machines that act in an organization, and their API keys.")
keys = typer.Typer(no_args_is_help=True, help="API keys of a service account.")
app.add_typer(keys, name="key")

Account = Annotated[str, typer.Argument(metavar="ORGANIZATION/NAME", help="The service account.")]
COLUMNS = {"name": "NAME", "description": "DESCRIPTION", "is_active": "ACTIVE", "created": "CREATED"}
DEFAULT_ROLES = ["organization_member"]


@command(app, "list")
def list_(cli: Cli, organization: Annotated[str, typer.Argument(help="Name or id of the organization.")]) -> None:
    """List the service accounts of an organization."""
    home = resolve.organization(cli.api, organization)
    rows = list(cli.api.pages(f"/organizations/{home['id']}/service_accounts"))
    hint = f"nagaya service-account create {home['name']}/NAME"
    cli.out.table(rows, COLUMNS, empty=f"{home['name']} has no service accounts. {hint}")


@command(app)
def create(
    cli: Cli,
    service_account: Account,
    role: Annotated[list[str] | None, typer.Option(help="Organization role; may be repeated.")] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Make a service account, by default as organization_member; the name is unique on the platform for ever."""
    home_name, slash, name = service_account.partition("/")
    if not slash:
        raise CliError("Write the service account as ORGANIZATION/NAME.", ExitCode.USAGE)
    home = resolve.organization(cli.api, home_name)
    body = {"name": name, "description": description, "roles": role or DEFAULT_ROLES}
    made = cli.api.post(f"/organizations/{home['id']}/service_accounts", body)
    sentence = f"Service account {home['name']}/{made['name']} has been created ({', '.join(body['roles'])})."
    cli.out.result(sentence, made)


@command(app)
def delete(
    cli: Cli, service_account: Account, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete a service account; its keys and everything that was signed in with them end at once."""
    found = resolve.service_account(cli.api, service_account)
    if not yes:
        typer.confirm(f"Delete the service account {service_account}?", abort=True, err=True)
    cli.api.delete(f"/organizations/{found['organization_id']}/service_accounts/{found['id']}")
    cli.out.result(f"Service account {service_account} has been deleted.", {"id": found["id"], "deleted": True})


@command(keys, "list")
def list_keys(cli: Cli, service_account: Account) -> None:
    """List the API keys of a service account; the keys themselves are shown only once, when they are made."""
    hint = f"nagaya service-account key create {service_account} NAME"
    tokens.show_keys(cli, tokens.keys_path(cli, service_account), hint)


@command(keys, "create")
def create_key(cli: Cli, service_account: Account, name: tokens.Name, expires_in_days: tokens.Days = None) -> None:
    """Make an API key of a service account and print it, once. With --json the key is in the field `key`."""
    tokens.make_key(cli, tokens.keys_path(cli, service_account), name, expires_in_days)


@command(keys, "revoke")
def revoke_key(cli: Cli, service_account: Account, name: tokens.Key) -> None:
    """Revoke an API key of a service account: it and all tokens that came out of it stop working at once."""
    tokens.revoke_key(cli, tokens.keys_path(cli, service_account), name)
