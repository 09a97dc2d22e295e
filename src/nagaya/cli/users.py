"""nagaya user: the people on the platform; for superusers."""

from __future__ import annotations

from typing import Annotated

import typer

from nagaya.cli import resolve
from nagaya.cli.context import Cli, command

app = typer.Typer(no_args_is_help=True, help="The people on the platform; for superusers.")

COLUMNS = {
    "username": "USER",
    "email": "E-MAIL",
    "name": "NAME",
    "is_superuser": "SUPERUSER",
    "is_active": "ACTIVE",
    "last_login": "LAST SIGN-IN",
}


@command(app, "list")
def list_(
    cli: Cli,
    search: Annotated[str | None, typer.Option(help="Only those with this in user name, e-mail or name.")] = None,
) -> None:
    """List users."""
    rows = list(cli.api.pages("/users", search=search))
    cli.out.table(rows, COLUMNS, empty="No users. nagaya user create EMAIL")


@command(app)
def create(
    cli: Cli,
    email: Annotated[str, typer.Argument(help="E-mail address, by which the person signs in.")],
    username: Annotated[str | None, typer.Option(help="User name; made from the address if not given.")] = None,
    name: Annotated[str | None, typer.Option(help="Name to show.")] = None,
    superuser: Annotated[bool, typer.Option("--superuser", help="May do everything on the platform.")] = False,
) -> None:
    """Make a user and print the link, good for a day, by which the person sets a password."""
    wanted = {"email": email, "username": username, "name": name, "is_superuser": superuser or None}
    made = cli.api.post("/users", {key: value for key, value in wanted.items() if value is not None})
    if cli.out.as_json:
        cli.out.json(made)
        return
    cli.out.note(f"{made['username']} has been created. By this link, which works once, the person sets a password:")
    cli.out.plain(str(made["password_link"]))


@command(app)
def deactivate(
    cli: Cli,
    user: Annotated[str, typer.Argument(help="User name, e-mail address or id.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Lock a user out: all sessions and API keys stop working at once; nothing of theirs is deleted."""
    found = resolve.user(cli.api, user)
    if not yes:
        typer.confirm(f"Deactivate {found['username']} ({found['email']})?", abort=True, err=True)
    changed = cli.api.patch(f"/users/{found['id']}", {"is_active": False})
    cli.out.result(f"{found['username']} has been deactivated.", changed)
