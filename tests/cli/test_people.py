"""Teams, invitations, roles and members on the command line, against a real api."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nagaya.cli.credentials import Credential, Credentials
from nagaya.http.logs import configure
from tests.api.tenants.installation import Actor, Installation, installation
from tests.cli.conftest import Nagaya


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Installation]:
    configure()  # Logs go to standard error; what commands print is all that is on standard output.
    with installation(tmp_path / "installation") as running:
        yield running


@pytest.fixture
def signed_in(api: Installation) -> Callable[[Actor], None]:
    def sign_in(who: Actor) -> None:
        token = who.http.headers["Authorization"].removeprefix("Bearer ")
        Credentials.load().put(api.urls["api"], Credential(token=token))

    return sign_in


@pytest.fixture
def ada(api: Installation, signed_in: Callable[[Actor], None]) -> Actor:
    """A superuser with the organization acme, its tenant staging, and grace as a member."""
    who = api.user("ada", superuser=True)
    body = {"name": "acme", "tenants": [{"name": "staging"}]}
    assert who.http.post("/organizations", json=body).status_code == 201
    api.user("grace")
    assert who.http.post("/organizations/acme/members", json={"user": "grace"}).status_code == 201
    signed_in(who)
    return who


def test_a_team_from_its_making_to_its_end(nagaya: Nagaya, ada: Actor) -> None:
    assert "nagaya team create acme/NAME" in nagaya("team", "list", "acme").err
    made = nagaya("team", "create", "acme/vision", "--description", "sees", "--member", "ada")
    assert (made.code, "acme/vision has been created with 1 members" in made.out) == (0, True)
    added = nagaya("team", "members", "add", "acme/vision", "grace@example.com")
    assert "grace@example.com is now in acme/vision" in added.out
    people = nagaya("team", "members", "list", "acme/vision", "--json").json
    assert [each["username"] for each in people] == ["ada", "grace"]
    assert nagaya("tenant", "members", "add", "staging", "--team", "vision", "--role", "Editor").code == 0
    held = nagaya("tenant", "members", "list", "staging").out
    assert "tenant_developer via team vision" in held
    assert "vision" in nagaya("tenant", "members", "list", "staging", "--teams").out
    assert "tenant_developer" in nagaya("team", "show", "acme/vision").out
    assert nagaya("team", "update", "acme/vision", "--name", "sight").code == 0
    assert nagaya("team", "update", "acme/sight").code == 2
    mistyped = nagaya("team", "show", "acme/sigt")
    assert (mistyped.code, "Did you mean sight?" in mistyped.err) == (3, True)
    assert nagaya("team", "show", "sight").code == 2
    assert nagaya("team", "members", "remove", "acme/sight", "nobody", "--yes").code == 3
    assert "no longer in" in nagaya("team", "members", "remove", "acme/sight", "grace", "--yes").out
    assert nagaya("tenant", "members", "remove", "staging", "sight", "--yes").code == 0
    assert nagaya("team", "delete", "acme/sight", input="n\n").code == 1
    assert nagaya("team", "delete", "acme/sight", "--yes", "--json").json["deleted"] is True


def test_roles_are_listed_given_and_taken(nagaya: Nagaya, ada: Actor) -> None:
    listed = nagaya("role", "list", "--level", "tenant", "--json").json
    assert {each["level"] for each in listed} == {"tenant"}
    given = nagaya("role", "assign", "tenant_viewer", "--user", "grace", "--tenant", "staging")
    assert "grace now holds tenant_viewer in acme/staging." in given.out
    assert nagaya("team", "create", "acme/vision").code == 0
    to_team = nagaya("role", "assign", "Viewer", "--team", "vision", "--organization", "acme", "--json").json
    assert (to_team["role"], to_team["principal_name"]) == ("organization_viewer", "vision")
    taken = nagaya("role", "unassign", "tenant_viewer", "--user", "grace", "--tenant", "acme/staging")
    assert "grace no longer holds tenant_viewer" in taken.out
    assert nagaya("role", "unassign", "tenant_viewer", "--user", "grace", "--tenant", "staging").code == 3
    assert nagaya("role", "assign", "tenant_viewer", "--tenant", "staging").code == 2
    assert nagaya("role", "assign", "project_viewer", "--user", "grace", "--project", "x").code == 2
    unknown = nagaya("role", "assign", "tenant_viewer", "--user", "grce", "--tenant", "staging")
    assert (unknown.code, "Did you mean grace" in unknown.err) == (3, True)


def test_people_without_an_account_are_invited(
    nagaya: Nagaya, api: Installation, ada: Actor, signed_in: Callable[[Actor], None]
) -> None:
    added = nagaya("org", "members", "add", "acme", "joan@example.com")
    assert (added.code, "/invitation?token=" in added.out) == (0, True)
    assert "joan@example.com" in nagaya("invitation", "list", "acme").out
    assert nagaya("org", "members", "add", "acme", "joan@example.com").code == 5
    assert nagaya("org", "members", "add", "acme", "joan").code == 3
    renewed = nagaya("invitation", "renew", "acme", "JOAN@example.com", "--json").json
    assert renewed["link"] != added.out.strip()
    assert nagaya("team", "create", "acme/vision").code == 0
    assert nagaya("team", "members", "add", "acme/vision", "joan@example.com").code == 0
    assert nagaya("team", "members", "add", "acme/vision", "jane@example.com").code == 3
    assert nagaya("invitation", "withdraw", "acme", "joan@example.com", "--yes").code == 0
    assert nagaya("invitation", "withdraw", "acme", "joan@example.com", "--yes").code == 3
    assert nagaya("invitation", "list", "acme", "--json").json == []
    assert [each["status"] for each in nagaya("invitation", "list", "acme", "--all", "--json").json] == ["revoked"]
    joan = api.user("joan")
    options = ("--role", "Viewer", "--tenant", "staging=Editor", "--team", "vision", "--expires-in-days", "1")
    assert nagaya("invitation", "create", "acme", "joan@example.com", *options).code == 0
    assert nagaya("invitation", "create", "acme", "x@example.com", "--tenant", "staging").code == 2
    signed_in(joan)
    assert "acme" in nagaya("invitation", "list").out
    assert nagaya("invitation", "accept", "other").code == 3
    assert "now a member of acme" in nagaya("invitation", "accept", "acme").out
    assert nagaya("tenant", "members", "list", "staging").code == 0
