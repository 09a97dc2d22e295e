"""Rules of membership: who may give which role to whom, and what ends with it."""

import datetime as dt
import uuid
from collections.abc import Collection, Iterable

from sqlalchemy import select

from nagaya import audit
from nagaya.access import changes, repository
from nagaya.access.models import RoleAssignment
from nagaya.access.places import Place, Wanted, new_assignment, require_future
from nagaya.access.repository import Account
from nagaya.errors import Conflict, InvalidInput, NotFound
from nagaya.tenants.models import Tenant
from nagaya_policy import PREDEFINED_ROLES


def find_account(place: Place, text: str) -> Account:
    """Returns whom a request means.

    Raises:
        NotFound: There is nobody of that id, username or address.
        Conflict: The account is deactivated.
    """
    found = repository.find_account(place.work.session, place.organization.id, text)
    if found is None:
        raise NotFound(f"There is no user with the id, username or e-mail address {text!r}.")
    if not found.is_active:
        raise Conflict(f"{found.username} is deactivated: activate the account first.")
    return found


def member(place: Place, principal_id: uuid.UUID) -> Account:
    """Returns a member of the place by an own role there: a user or service account, in a tenant also a team.

    Raises:
        NotFound: Nobody of this id is a member there.
        Conflict: All roles of the member there are those of teams.
    """
    session, organization_id = place.work.session, place.organization.id
    found = repository.account(session, principal_id)
    if found is None and place.tenant is not None:
        found = repository.team_account(session, organization_id, principal_id)
    if found is not None and repository.held(session, organization_id, principal_id, tenant_id=place.tenant_id):
        return found
    through = repository.teams_with_roles(
        session, organization_id, [principal_id], place.now, tenant_id=place.tenant_id
    )
    names = sorted({team.name for team, row in through.get(principal_id, ()) if row.tenant_id == place.tenant_id})
    if found is not None and place.tenant is not None and names:
        raise Conflict(
            f"{found.username} holds roles in {place.name} only through a team ({', '.join(names)}): change the team's "
            "members or its roles instead."
        )
    raise NotFound(f"No member of {place.name} has the id {principal_id}.")


def require_organization_member(place: Place, who: Account) -> None:
    """Raises InvalidInput unless somebody belongs to the organization, without which nothing in it can be held."""
    if who.kind in {"team", "invitation"}:
        return
    if not repository.assignments(place.work.session, place.organization.id, [who.id], place.now):
        sentence = f"{who.username} is not a member of {place.organization.name}: add the member there first."
        raise InvalidInput(sentence, fields={"user": sentence})


def add(place: Place, who: Account, wanted: Collection[Wanted], expires: dt.datetime | None) -> None:
    """Makes a member with the given roles.

    Raises:
        Conflict: The account is a member there already.
        Forbidden: A role permits more than the caller's own.
        InvalidInput: `expires` has passed.
    """
    place = place.locked()
    session = place.work.session
    rows = repository.assignments(session, place.organization.id, [who.id], place.now, tenant_id=place.tenant_id)
    if any(row.tenant_id == place.tenant_id for row in rows.get(who.id, ())):
        raise Conflict(f"{who.username} is a member of {place.name} already: change the roles instead.")
    if place.tenant is None:
        forget(place, who.id)
    _apply(place, who, wanted, expires, "member.create")


def change(place: Place, who: Account, wanted: Collection[Wanted], expires: dt.datetime | None) -> None:
    """Replaces all roles that a member holds at the place itself; those of teams stay.

    Raises:
        Forbidden: A role that is given or taken permits more than the caller's own.
        InvalidInput: `expires` has passed.
        Conflict: The organization would have no administrator any more.
    """
    _apply(place.locked(), who, wanted, expires, "member.update")


def _apply(place: Place, who: Account, wanted: Collection[Wanted], expires: dt.datetime | None, action: str) -> None:
    require_future(expires, place.now)
    session = place.work.session
    current = repository.held(session, place.organization.id, who.id, tenant_id=place.tenant_id)
    target = set(wanted)
    kept: set[Wanted] = set()
    removed: list[RoleAssignment] = []
    for row in current:
        key = Wanted(row.role, row.project_id)
        if key in target and row.expires == expires:
            kept.add(key)
        else:
            removed.append(row)
    require_to_change(place, [Wanted(row.role, row.project_id) for row in removed])
    require_to_change(place, target - kept)
    with place.keeping_an_administrator():
        for row in removed:
            session.delete(row)
        session.flush()
        for each in sorted(target - kept, key=str):
            session.add(new_assignment(place, who, each, expires))
    details = {
        "given": sorted(each.role for each in target - kept),
        "taken": sorted({row.role for row in removed} - {each.role for each in target}),
    }
    announce(place, who, f"{place.level}_{action}", details)


def remove(place: Place, who: Account) -> None:
    """Ends a membership.

    In an organization all roles, places in teams and shares in its tenants end with it, in a tenant the roles and
    shares there. Sessions of the account stay valid elsewhere. Everybody may leave; taking the roles of others needs
    as much as giving them.

    Raises:
        Forbidden: The member holds a role that permits more than the caller's own.
        Conflict: The organization would have no administrator any more.
    """
    place = place.locked()
    session = place.work.session
    rows = repository.held(session, place.organization.id, who.id, tenant_id=place.tenant_id)
    if who.id != place.standing.principal.id:
        require_to_change(place, [Wanted(row.role, row.project_id) for row in rows])
    with place.keeping_an_administrator():
        if place.tenant is None:
            forget(place, who.id)
        else:
            for row in rows:
                session.delete(row)
            repository.remove_shares(session, place.tenant.id, who.id)
    announce(place, who, f"{place.level}_member.delete", {"taken": sorted({row.role for row in rows})})


def forget(place: Place, principal_id: uuid.UUID) -> None:
    """Deletes all that somebody has in the organization, which is also what a membership that expired left behind.

    Whoever adds a member gives what is asked for, and must not bring back what others once gave.
    """
    tenants = select(Tenant.id).where(Tenant.organization_id == place.organization.id)
    repository.remove_everything(place.work.session, place.organization.id, principal_id, tenants)


def announce(place: Place, who: Account, action: str, details: dict[str, list[str]]) -> None:
    """Records a change of roles at a place and has the policies of the tenants concerned published."""
    audit.record(
        place.work,
        action,
        audit.Target(who.kind, who.id, who.username),
        organization_id=place.organization.id,
        tenant_id=place.tenant_id,
        details=details,
    )
    if who.kind == "invitation":
        return  # It is nobody yet.
    if place.tenant is None:
        changes.organization_changed(place.work, place.organization.id)
    else:
        changes.tenant_changed(place.work, place.tenant.id)


def require_to_change(place: Place, roles: Iterable[Wanted]) -> None:
    """Raises Forbidden unless the caller may give and take each of the roles at the place."""
    for each in roles:
        if (role := PREDEFINED_ROLES.get(each.role)) is not None:
            place.standing.require_assignment(role, each.project_id)
