"""nagaya role: which roles there are, giving and taking them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nagaya.cli import resolve
from nagaya.cli.context import Cli, command
from nagaya.cli.errors import CliError, ExitCode

app = typer.Typer(no_args_is_help=True, help="Roles: which there are, giving and taking them.")

Role = Annotated[str, typer.Argument(help="Name of the role, such as tenant_developer.")]
User = Annotated[str | None, typer.Option(help="User name, e-mail address or id of a member or service account.")]
TeamName = Annotated[str | None, typer.Option("--team", help="Name of a team, instead of --user.")]
Tenant = Annotated[str | None, typer.Option(help="Tenant, for its roles and those of its projects.")]
Project = Annotated[str | None, typer.Option(help="Id of a project in the tenant, for roles of projects.")]
Organization = Annotated[str | None, typer.Option(help="Organization, for its roles; may be left out if you have one.")]
COLUMNS = {"name": "NAME", "level": "LEVEL", "label": "LABEL", "description": "WHAT IT PERMITS"}


@command(app, "list")
def list_(
    cli: Cli,
    organization: Annotated[str | None, typer.Argument(help="Name or id; may be left out if you have one.")] = None,
    level: Annotated[str | None, typer.Option(help="organization, tenant or project.")] = None,
) -> None:
    """List the roles that can be given."""
    home = resolve.organization_or_only(cli.api, organization)
    rows = list(cli.api.pages(f"/organizations/{home['id']}/roles", level=level))
    cli.out.table(rows, COLUMNS, empty="There are no such roles.")


@command(app)
def assign(
    cli: Cli,
    role: Role,
    *,
    user: User = None,
    team: TeamName = None,
    tenant: Tenant = None,
    project: Project = None,
    organization: Organization = None,
    expires: Annotated[
        str | None, typer.Option(help="When it ends, such as 2030-01-31T12:00:00Z; never, if not given.")
    ] = None,
) -> None:
    """Give a role to a member, a service account or a team, beside those that are held."""
    query, place = _where(cli, tenant, project, organization)
    who = _who(cli, query["organization"], user, team)
    path = f"/roles/{resolve.segment(role)}/assignments"
    made = cli.api.request("POST", path, params={**query, **who, "expires": expires}).json()
    cli.out.result(f"{made['principal_name']} now holds {made['role']} in {place}.", made)


@command(app)
def unassign(
    cli: Cli,
    role: Role,
    *,
    user: User = None,
    team: TeamName = None,
    tenant: Tenant = None,
    project: Project = None,
    organization: Organization = None,
) -> None:
    """Take a role; what it permitted ends at once."""
    query, place = _where(cli, tenant, project, organization)
    who = _who(cli, query["organization"], user, team)
    cli.api.delete(f"/roles/{resolve.segment(role)}/assignments", **query, **who)
    cli.out.result(f"{user or team} no longer holds {role} in {place}.", {"role": role, "removed": True})


def _where(cli: Cli, tenant: str | None, project: str | None, organization: str | None) -> tuple[dict[str, Any], str]:
    if project is not None and tenant is None:
        raise CliError("A project lies in a tenant: give --tenant as well.", ExitCode.USAGE)
    if tenant is not None:
        name = tenant if organization is None or "/" in tenant else f"{organization}/{tenant}"
        found = resolve.tenant(cli.api, name)
        query = {"organization": found["organization"]["id"], "tenant_id": found["id"], "project_id": project}
        return query, resolve.full_name(found)
    home = resolve.organization_or_only(cli.api, organization)
    return {"organization": home["id"]}, home["name"]


def _who(cli: Cli, organization_id: str, user: str | None, team: str | None) -> dict[str, str]:
    if (user is None) is (team is None):
        raise CliError("Say to whom: either --user or --team.", ExitCode.USAGE)
    home = resolve.organization(cli.api, organization_id)
    if team is not None:
        return {"team_id": resolve.team_of(cli.api, home, team)["id"]}
    return resolve.holder(cli.api, home, user or "")
