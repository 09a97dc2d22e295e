"""nagaya tenant members: who may do what in a tenant."""

from __future__ import annotations

from typing import Annotated

import typer

from nagaya.cli import members as people
from nagaya.cli import resolve
from nagaya.cli.context import Cli, command
from nagaya.cli.errors import CliError, ExitCode

app = typer.Typer(no_args_is_help=True, help="Members of a tenant and their roles.")

Tenant = Annotated[str, typer.Argument(help="NAME if it is unambiguous, ORGANIZATION/NAME, or an id.")]


@command(app, "list")
def list_(
    cli: Cli,
    tenant: Tenant,
    teams: Annotated[bool, typer.Option("--teams", help="The teams that hold roles, instead of people.")] = False,
) -> None:
    """List who holds a role in a tenant, own ones and those of teams."""
    found = resolve.tenant(cli.api, tenant)
    kind = "team" if teams else None
    people.show(cli, f"/tenants/{found['id']}/members", resolve.full_name(found), kind=kind)


@command(app)
def add(
    cli: Cli,
    tenant: Tenant,
    role: Annotated[list[str], typer.Option(help="Tenant role, such as tenant_developer; may be repeated.")],
    user: Annotated[
        str | None, typer.Argument(help="E-mail address, user name or id of a member of the organization.")
    ] = None,
    team: Annotated[str | None, typer.Option(help="Name or id of a team, instead of a user.")] = None,
) -> None:
    """Give a member of the organization, a service account or a team roles in a tenant."""
    if (user is None) is (team is None):
        raise CliError("Say to whom: a user, or --team NAME.", ExitCode.USAGE)
    found = resolve.tenant(cli.api, tenant)
    who = {"user": user} if team is None else {"team": team}
    made = cli.api.post(f"/tenants/{found['id']}/members", {**who, "roles": role})
    cli.out.result(f"{user or team} is now a member of {resolve.full_name(found)} ({', '.join(role)}).", made)


@command(app)
def remove(
    cli: Cli,
    tenant: Tenant,
    name: Annotated[str, typer.Argument(help="User name, e-mail address or id of the member, or name of the team.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a member from a tenant; access to it ends at once."""
    found = resolve.tenant(cli.api, tenant)
    path, place = f"/tenants/{found['id']}/members", resolve.full_name(found)
    known = [*cli.api.pages(path), *cli.api.pages(path, kind="team")]
    person = resolve.named(known, name, f"no member of {place}", said="is")
    if not yes:
        typer.confirm(f"Remove {name} from {place}?", abort=True, err=True)
    cli.api.delete(f"{path}/{person['id']}")
    cli.out.result(f"{name} is no longer a member of {place}.", {"id": person["id"], "removed": True})
