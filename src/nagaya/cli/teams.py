"""nagaya team: groups of an organization's members that hold roles together."""

from __future__ import annotations

from typing import Annotated

import typer

from nagaya.cli import resolve
from nagaya.cli.context import Cli, command
from nagaya.cli.errors import CliError, ExitCode

app = typer.Typer(no_args_is_help=True, help="Teams of an organization, which hold roles together.")
members = typer.Typer(no_args_is_help=True, help="Who is in a team.")
app.add_typer(members, name="members")

Team = Annotated[str, typer.Argument(metavar="ORGANIZATION/NAME", help="The team.")]
User = Annotated[
    str, typer.Argument(help="User name, e-mail address or id of a member, or the address of an invitation.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
COLUMNS = {"name": "NAME", "description": "DESCRIPTION", "member_count": "MEMBERS", "roles": "ROLES"}
FIELDS = {"name": "Name", "description": "Description", "member_count": "Members", "roles": "Roles", "id": "Id"}
MEMBERS = {"username": "USER", "email": "E-MAIL", "kind": "KIND", "added": "SINCE"}


@command(app, "list")
def list_(cli: Cli, organization: Annotated[str, typer.Argument(help="Name or id of the organization.")]) -> None:
    """List the teams of an organization."""
    home = resolve.organization(cli.api, organization)
    rows = list(cli.api.pages(f"/organizations/{home['id']}/teams"))
    if not cli.out.as_json:
        rows = [{**row, "roles": [held["role"] for held in row["roles"]]} for row in rows]
    cli.out.table(rows, COLUMNS, empty=f"{home['name']} has no teams. nagaya team create {home['name']}/NAME")


@command(app)
def create(
    cli: Cli,
    team: Team,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    member: Annotated[
        list[str] | None, typer.Option(help="User name or e-mail address of a first member; may be repeated.")
    ] = None,
) -> None:
    """Make a team."""
    home, name = resolve.in_organization(cli.api, team, "team")
    body = {"name": name, "description": description, "organization": home["id"], "members": member or []}
    made = cli.api.post("/teams", body)
    cli.out.result(f"Team {home['name']}/{made['name']} has been created with {made['member_count']} members.", made)


@command(app)
def show(cli: Cli, team: Team) -> None:
    """Show a team and the roles that it holds."""
    found = resolve.team(cli.api, team)
    shown = found if cli.out.as_json else {**found, "roles": [held["role"] for held in found["roles"]]}
    cli.out.item(shown, FIELDS)


@command(app)
def update(
    cli: Cli,
    team: Team,
    name: Annotated[str | None, typer.Option(help="New name.")] = None,
    description: Annotated[str | None, typer.Option(help="New description.")] = None,
) -> None:
    """Rename or describe a team."""
    changed = {key: value for key, value in (("name", name), ("description", description)) if value is not None}
    if not changed:
        raise CliError("Say what to change: --name or --description.", ExitCode.USAGE)
    found = resolve.team(cli.api, team)
    cli.out.result(f"Team {team} has been changed.", cli.api.patch(f"/teams/{found['id']}", changed))


@command(app)
def delete(cli: Cli, team: Team, yes: Yes = False) -> None:
    """Delete a team; its roles and what is shared with it end at once."""
    found = resolve.team(cli.api, team)
    if not yes:
        typer.confirm(f"Delete the team {team} with {found['member_count']} members?", abort=True, err=True)
    cli.api.delete(f"/teams/{found['id']}")
    cli.out.result(f"Team {team} has been deleted.", {"id": found["id"], "deleted": True})


@command(members, "list")
def list_members(cli: Cli, team: Team) -> None:
    """List who is in a team."""
    found = resolve.team(cli.api, team)
    rows = list(cli.api.pages(f"/teams/{found['id']}/members"))
    cli.out.table(rows, MEMBERS, empty=f"Nobody is in {team}. nagaya team members add {team} USER")


@command(members)
def add(cli: Cli, team: Team, user: User) -> None:
    """Put a member of the organization into a team; the team's roles are then the member's."""
    found = resolve.team(cli.api, team)
    home = resolve.organization(cli.api, team.partition("/")[0])
    who = resolve.holder(cli.api, home, user)
    made = cli.api.request("POST", f"/teams/{found['id']}/members", params=who).json()
    cli.out.result(f"{user} is now in {team}.", made)


@command(members)
def remove(cli: Cli, team: Team, user: User, yes: Yes = False) -> None:
    """Take somebody out of a team; what the team gave ends at once."""
    found = resolve.team(cli.api, team)
    known = list(cli.api.pages(f"/teams/{found['id']}/members"))
    person = resolve.named(known, user, f"in {team}")
    if not yes:
        typer.confirm(f"Take {user} out of {team}?", abort=True, err=True)
    cli.api.delete(f"/teams/{found['id']}/members", **{f"{person['kind']}_id": person["id"]})
    cli.out.result(f"{user} is no longer in {team}.", {"id": person["id"], "removed": True})
