"""nagaya invitation: links by which people join an organization."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nagaya.cli import resolve
from nagaya.cli.context import Cli, command
from nagaya.cli.errors import CliError, ExitCode, did_you_mean

app = typer.Typer(no_args_is_help=True, help="Invitations to organizations: links to copy and send.")

Organization = Annotated[str, typer.Argument(help="Name or id of the organization.")]
Email = Annotated[str, typer.Argument(help="E-mail address of the invited person.")]
Days = Annotated[int, typer.Option(help="How many days the link works.", min=1, max=90)]
COLUMNS = {
    "email": "E-MAIL",
    "organization.name": "ORGANIZATION",
    "status": "STATUS",
    "roles": "ROLES",
    "invited_by": "INVITED BY",
    "expires": "EXPIRES",
}
DEFAULT_DAYS = 7


@command(app, "list")
def list_(
    cli: Cli,
    organization: Annotated[
        str | None, typer.Argument(help="Name or id of the organization; your own invitations if not given.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Accepted, withdrawn and expired ones too.")] = False,
) -> None:
    """List open invitations: yours, or those to an organization."""
    path, filters = "/invitations", {}
    if organization is not None:
        path = f"/organizations/{resolve.organization(cli.api, organization)['id']}/invitations"
        filters = {} if all_ else {"status": "pending"}
    rows = list(cli.api.pages(path, **filters))
    if not cli.out.as_json:
        rows = [{**row, "roles": [held["role"] for held in row["roles"]]} for row in rows]
    cli.out.table(rows, COLUMNS, empty="No open invitations.")


@command(app)
def create(
    cli: Cli,
    organization: Organization,
    email: Email,
    *,
    role: Annotated[list[str] | None, typer.Option(help="Organization role; may be repeated.")] = None,
    tenant: Annotated[
        list[str] | None, typer.Option(metavar="NAME=ROLE", help="Role in a tenant; may be repeated.")
    ] = None,
    team: Annotated[list[str] | None, typer.Option(help="Name of a team; may be repeated.")] = None,
    expires_in_days: Days = DEFAULT_DAYS,
) -> None:
    """Invite somebody, by default as organization_member, and print the link, once. With --json it is in `link`."""
    home = resolve.organization(cli.api, organization)
    body = {
        "email": email,
        "roles": role or ["organization_member"],
        "tenants": _tenants(tenant or []),
        "teams": team or [],
        "expires_in_days": expires_in_days,
    }
    show_link(cli, home, cli.api.post(f"/organizations/{home['id']}/invitations", body))


def _tenants(given: list[str]) -> list[dict[str, Any]]:
    roles: dict[str, list[str]] = {}
    for each in given:
        name, equals, role = each.partition("=")
        if not (equals and name and role):
            raise CliError(f"Write --tenant as NAME=ROLE, not {each}.", ExitCode.USAGE)
        roles.setdefault(name, []).append(role)
    return [{"tenant": name, "roles": held} for name, held in roles.items()]


@command(app)
def renew(cli: Cli, organization: Organization, email: Email, expires_in_days: Days = DEFAULT_DAYS) -> None:
    """Make a new link of an invitation, expired or not; the old link stops working."""
    home, found = _find(cli, organization, email)
    path = f"/organizations/{home['id']}/invitations/{found['id']}/link"
    show_link(cli, home, cli.api.post(path, {"expires_in_days": expires_in_days}))


@command(app)
def withdraw(
    cli: Cli,
    organization: Organization,
    email: Email,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Withdraw an invitation; its link stops working."""
    home, found = _find(cli, organization, email)
    if not yes:
        typer.confirm(f"Withdraw the invitation of {found['email']} to {home['name']}?", abort=True, err=True)
    cli.api.delete(f"/organizations/{home['id']}/invitations/{found['id']}")
    cli.out.result(f"The invitation of {found['email']} has been withdrawn.", {"id": found["id"], "deleted": True})


@command(app)
def accept(cli: Cli, organization: Annotated[str, typer.Argument(help="Name or id of the organization.")]) -> None:
    """Accept the invitation of an organization to you."""
    mine = list(cli.api.pages("/invitations"))
    for each in mine:
        if organization in (each["organization"]["id"], each["organization"]["name"], each["id"]):
            made = cli.api.post(f"/invitations/{each['id']}")
            cli.out.result(f"You are now a member of {each['organization']['name']}.", made)
            return
    names = [each["organization"]["name"] for each in mine]
    raise CliError(f"You have no invitation to {organization}.{did_you_mean(organization, names)}", ExitCode.NOT_FOUND)


def show_link(cli: Cli, home: dict[str, Any], made: dict[str, Any]) -> None:
    """Prints the link of an invitation."""
    if cli.out.as_json:
        cli.out.json(made)
        return
    cli.out.note(f"Send {made['email']} this link to {home['name']}; it works once, until {made['expires'][:10]}:")
    cli.out.plain(str(made["link"]))


def _find(cli: Cli, organization: str, email: str) -> tuple[dict[str, Any], dict[str, Any]]:
    home = resolve.organization(cli.api, organization)
    known = list(cli.api.pages(f"/organizations/{home['id']}/invitations"))
    # The newest comes first; an expired one can be renewed, too.
    waiting = [each for each in known if each["status"] in ("pending", "expired")]
    for each in waiting:
        if email.lower() in (each["email"].lower(), each["id"]):
            return home, each
    names = [each["email"] for each in waiting]
    raise CliError(f"{home['name']} has no invitation of {email}.{did_you_mean(email, names)}", ExitCode.NOT_FOUND)
