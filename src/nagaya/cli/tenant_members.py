"""nagaya tenant members: who may do what in a tenant."""

from __future__ import annotations

from typing import Annotated

import typer

from nagaya.cli import resolve
from nagaya.cli.context import Cli, command
from nagaya.cli.errors import CliError, ExitCode, did_you_mean

app = typer.Typer(no_args_is_help=True, help="Members of a tenant and their roles.")

Tenant = Annotated[str, typer.Argument(help="NAME if it is unambiguous, ORGANIZATION/NAME, or an id.")]
COLUMNS = {"username": "USER", "email": "E-MAIL", "kind": "KIND", "roles": "ROLES"}


@command(app, "list")
def list_(cli: Cli, tenant: Tenant) -> None:
    """List who holds a role in a tenant."""
    found = resolve.tenant(cli.api, tenant)
    rows = list(cli.api.pages(f"/tenants/{found['id']}/members"))
    if not cli.out.as_json:
        rows = [{**row, "roles": [held["role"] for held in row["roles"]]} for row in rows]
    cli.out.table(rows, COLUMNS, empty=f"{resolve.full_name(found)} has no members.")


@command(app)
def add(
    cli: Cli,
    tenant: Tenant,
    user: Annotated[str, typer.Argument(help="E-mail address, user name or id of a member of the organization.")],
    role: Annotated[list[str], typer.Option(help="Tenant role, such as tenant_developer; may be repeated.")],
) -> None:
    """Give a member of the organization, or a service account, roles in a tenant."""
    found = resolve.tenant(cli.api, tenant)
    made = cli.api.post(f"/tenants/{found['id']}/members", {"user": user, "roles": role})
    cli.out.result(f"{user} is now a member of {resolve.full_name(found)} ({', '.join(role)}).", made)


@command(app)
def remove(
    cli: Cli,
    tenant: Tenant,
    name: Annotated[str, typer.Argument(help="User name, e-mail address or id of the member.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a member from a tenant; access to it ends at once."""
    found = resolve.tenant(cli.api, tenant)
    path, place = f"/tenants/{found['id']}/members", resolve.full_name(found)
    known = list(cli.api.pages(path))
    person = next((one for one in known if name.lower() in map(str.lower, resolve.member_names(one))), None)
    if person is None:
        names = [text for one in known for text in resolve.member_names(one)]
        raise CliError(f"{name} is no member of {place}.{did_you_mean(name, names)}", ExitCode.NOT_FOUND)
    if not yes:
        typer.confirm(f"Remove {name} from {place}?", abort=True, err=True)
    cli.api.delete(f"{path}/{person['id']}")
    cli.out.result(f"{name} is no longer a member of {place}.", {"id": person["id"], "removed": True})
