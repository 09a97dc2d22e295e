"""nagaya org: organizations and their members."""

from __future__ import annotations

from typing import Annotated

import typer

from nagaya.cli import invitations, resolve
from nagaya.cli import members as people
from nagaya.cli.context import Cli, command
from nagaya.cli.errors import CliError, ExitCode

app = typer.Typer(no_args_is_help=True, help="Organizations and their members.")
members = typer.Typer(no_args_is_help=True, help="Members of an organization.")
app.add_typer(members, name="members")

Organization = Annotated[str, typer.Argument(help="Name or id of the organization.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
COLUMNS = {"name": "NAME", "display_name": "DISPLAY NAME", "description": "DESCRIPTION", "created": "CREATED"}
FIELDS = {
    "name": "Name",
    "display_name": "Display name",
    "description": "Description",
    "id": "Id",
    "created": "Created",
}


@command(app, "list")
def list_(cli: Cli) -> None:
    """List the organizations that you belong to."""
    cli.out.table(list(cli.api.pages("/organizations")), COLUMNS, empty="No organizations. nagaya org create NAME")


@command(app)
def create(
    cli: Cli,
    name: Annotated[str, typer.Argument(help="Name: lower-case letters, digits, single hyphens; can never change.")],
    display_name: Annotated[str | None, typer.Option(help="Name for people; can change.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
) -> None:
    """Make an organization; you become its administrator."""
    body = {"name": name, "display_name": display_name, "description": description}
    made = cli.api.post("/organizations", {key: value for key, value in body.items() if value is not None})
    cli.out.result(f"Organization {made['name']} has been created.", made)


@command(app)
def show(cli: Cli, organization: Organization) -> None:
    """Show an organization."""
    cli.out.item(resolve.organization(cli.api, organization), FIELDS)


@command(app)
def delete(cli: Cli, organization: Organization, yes: Yes = False) -> None:
    """Delete an organization that has no tenants left."""
    found = resolve.organization(cli.api, organization)
    if not yes:
        typer.confirm(f"Delete the organization {found['name']}?", abort=True, err=True)
    cli.api.delete(f"/organizations/{found['id']}")
    cli.out.result(f"Organization {found['name']} has been deleted.", {"id": found["id"], "deleted": True})


@command(members, "list")
def list_members(cli: Cli, organization: Organization) -> None:
    """List the members of an organization."""
    home = resolve.organization(cli.api, organization)
    people.show(cli, f"/organizations/{home['id']}/members", home["name"])


@command(members)
def add(
    cli: Cli,
    organization: Organization,
    user: Annotated[str, typer.Argument(help="E-mail address, user name or id.")],
    role: Annotated[list[str] | None, typer.Option(help="Organization role; may be repeated.")] = None,
) -> None:
    """Add a user to an organization, by default as organization_member.

    Somebody without an account is invited instead: the link to send is printed.
    """
    home = resolve.organization(cli.api, organization)
    roles = role or ["organization_member"]
    try:
        made = cli.api.post(f"/organizations/{home['id']}/members", {"user": user, "roles": roles})
    except CliError as error:
        if error.code is not ExitCode.NOT_FOUND or "@" not in user:
            raise
        body = {"email": user, "roles": roles}
        invitations.show_link(cli, home, cli.api.post(f"/organizations/{home['id']}/invitations", body))
        return
    cli.out.result(f"{user} is now a member of {home['name']} ({', '.join(roles)}).", made)


@command(members)
def remove(
    cli: Cli,
    organization: Organization,
    name: Annotated[str, typer.Argument(help="User name, e-mail address or id of the member.")],
    yes: Yes = False,
) -> None:
    """Remove a member; access to all tenants of the organization ends at once."""
    home = resolve.organization(cli.api, organization)
    found = resolve.member(cli.api, home, name)
    label = resolve.member_names(found)[0]
    if not yes:
        typer.confirm(f"Remove {label} from {home['name']}?", abort=True, err=True)
    person = found["id"]
    cli.api.delete(f"/organizations/{home['id']}/members/{person}")
    cli.out.result(f"{label} is no longer a member of {home['name']}.", {"id": person, "removed": True})
