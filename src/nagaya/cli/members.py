"""What the lists of members of organizations, tenants and teams have in common."""

from __future__ import annotations

from typing import Any

from nagaya.cli.context import Cli

COLUMNS = {"username": "USER", "email": "E-MAIL", "kind": "KIND", "roles": "ROLES"}


def show(cli: Cli, path: str, place: str, **filters: Any) -> None:
    """Prints the members of a place with their roles, and through which team they hold them.

    Args:
        cli: The invocation.
        path: The list's path in the API.
        place: What sentences call the place.
        filters: Query of the list.
    """
    rows = list(cli.api.pages(path, **filters))
    if not cli.out.as_json:
        rows = [{**row, "roles": [held(each) for each in row["roles"]]} for row in rows]
    cli.out.table(rows, COLUMNS, empty=f"{place} has no members.")


def held(role: dict[str, Any]) -> str:
    """A role in a table: `tenant_viewer`, or `tenant_viewer via team vision`."""
    team = role.get("team")
    return f"{role['role']} via team {team['name']}" if team else str(role["role"])
