"""Rules of teams: who may be in them, what comes and goes with a place in one."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from nagaya import audit
from nagaya.access import changes
from nagaya.access import repository as access
from nagaya.access.handover import require_team
from nagaya.access.places import Place
from nagaya.access.repository import Account
from nagaya.errors import Conflict, InvalidInput, NotFound
from nagaya.invitations import repository as invitations
from nagaya.organizations.models import Organization
from nagaya.teams import repository
from nagaya.teams.models import Team, TeamMember
from nagaya.teams.schemas import TeamCreate


@dataclass(frozen=True, slots=True)
class FoundTeam:
    """A team that a request names, and the same as one that can hold roles."""

    team: Team
    account: Account


def find_team(session: Session, organization: Organization, text: str) -> FoundTeam:
    """Returns the team of an organization that an id or a name means.

    Raises:
        NotFound: There is none.
    """
    team = repository.find(session, organization.id, text)
    if team is None:
        raise NotFound(f"{organization.name} has no team {text!r}.")
    return FoundTeam(team, Account(team.id, "team", team.name, None, team.name, is_active=True))


def create(place: Place, body: TeamCreate) -> Team:
    """Makes a team with its first members.

    Args:
        place: The organization.
        body: Name, description and members.

    Raises:
        Conflict: There is a team of this name.
        NotFound: A member is unknown.
        InvalidInput: One is not a member of the organization, or is named twice.
    """
    place = place.locked()
    session, me = place.work.session, place.standing.principal.id
    _require_free(place, body.name)
    team = Team(
        organization_id=place.organization.id,
        name=body.name,
        name_key=repository.name_key(body.name),
        description=body.description,
        created_by=me,
    )
    session.add(team)
    session.flush()
    people = [_member_of_organization(place, text) for text in body.members]
    if len({each.id for each in people}) != len(people):
        raise InvalidInput("A member is named twice.", fields={"members": "must not name anybody twice"})
    session.add_all(_seat(team, each, me) for each in people)
    _record(place, "team.create", team, {"members": [each.username for each in people]})
    return team


def change(place: Place, team: Team, changed: dict[str, str]) -> None:
    """Changes the name or the description.

    Raises:
        Conflict: There is another team of this name.
    """
    place = place.locked()
    name = changed.get("name")
    if name is not None and repository.name_key(name) != team.name_key:
        _require_free(place, name)
    differing = sorted(field for field, value in changed.items() if getattr(team, field) != value)
    for field in differing:
        setattr(team, field, changed[field])
    if not differing:
        return
    team.name_key = repository.name_key(team.name)
    _record(place, "team.update", team, {"fields": differing})
    if "name" in differing:
        changes.team_changed(place.work, team.id)


def delete(place: Place, team: Team) -> None:
    """Deletes a team; its roles and what is shared with it end.

    Raises:
        Forbidden: It holds more than the caller may take.
        Conflict: The organization would have no administrator any more.
    """
    place = place.locked()
    require_team(place.work.session, place.standing, team)
    changes.team_changed(place.work, team.id)
    with place.keeping_an_administrator():
        _record(place, "team.delete", team, {})
        repository.remove(place.work.session, team)


def join(place: Place, team: Team, principal_id: uuid.UUID) -> Account:
    """Puts somebody into a team. Does nothing for somebody who is in it already.

    Raises:
        NotFound: There is nobody of this id.
        InvalidInput: It is not a member of the organization.
        Forbidden: The team holds more than the caller may give.
    """
    place = place.locked()
    session = place.work.session
    require_team(session, place.standing, team)
    who = _invited(place, principal_id) or _member_of_organization(place, str(principal_id))
    if repository.membership(session, team.id, who.id) is not None:
        return who
    session.add(_seat(team, who, place.standing.principal.id))
    _record(place, "team_member.create", team, {"member": who.username, "kind": who.kind})
    changes.team_changed(place.work, team.id)
    return who


def leave(place: Place, team: Team, principal_id: uuid.UUID, *, own: bool) -> None:
    """Takes somebody out of a team.

    Args:
        place: The organization.
        team: The team.
        principal_id: Who.
        own: Whether somebody leaves, which everybody may.

    Raises:
        NotFound: Nobody of this id is in it.
        Forbidden: The team holds more than the caller may take.
        Conflict: The organization would have no administrator any more.
    """
    place = place.locked()
    session = place.work.session
    row = repository.membership(session, team.id, principal_id)
    if row is None:
        raise NotFound(f"Nobody with the id {principal_id} is in the team {team.name}.")
    if not own:
        require_team(session, place.standing, team)
    with place.keeping_an_administrator():
        session.delete(row)
    who = access.account(session, principal_id)
    name = str(principal_id) if who is None else who.username
    _record(place, "team_member.delete", team, {"member": name, "kind": row.principal_kind})
    changes.team_changed(place.work, team.id)


def _invited(place: Place, principal_id: uuid.UUID) -> Account | None:
    return invitations.open_account(place.work.session, place.organization.id, principal_id, place.now)


def _member_of_organization(place: Place, text: str) -> Account:
    session, organization = place.work.session, place.organization
    who = access.find_account(session, organization.id, text)
    if who is None:
        raise NotFound(f"There is no user, service account or open invitation {text!r}.")
    if not access.assignments(session, organization.id, [who.id], place.now):
        sentence = f"{who.username} is not a member of {organization.name}: add the member there first."
        raise InvalidInput(sentence)
    return who


def _seat(team: Team, who: Account, by: uuid.UUID) -> TeamMember:
    return TeamMember(team_id=team.id, principal_id=who.id, principal_kind=who.kind, created_by=by)


def _require_free(place: Place, name: str) -> None:
    if repository.find_by_name(place.work.session, place.organization.id, name) is not None:
        raise Conflict(
            f"{place.organization.name} has a team called {name!r} already: choose another name.",
            fields={"name": "is taken"},
        )


def _record(place: Place, action: str, team: Team, details: Mapping[str, object]) -> None:
    audit.record(
        place.work,
        action,
        audit.Target("team", team.id, team.name),
        organization_id=place.organization.id,
        details=dict(details),
    )
