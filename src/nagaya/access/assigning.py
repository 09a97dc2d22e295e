"""Giving and taking single roles: to and from users, service accounts, teams and open invitations."""

import datetime as dt

from nagaya.access import repository
from nagaya.access.models import RoleAssignment
from nagaya.access.places import Place, Wanted, new_assignment, require_future
from nagaya.access.repository import Account
from nagaya.access.service import announce, forget, require_organization_member, require_to_change
from nagaya.errors import Conflict, NotFound


def assign(place: Place, who: Account, wanted: Wanted, expires: dt.datetime | None) -> RoleAssignment:
    """Gives a role beside those that somebody holds; the same again with another `expires` changes when it ends.

    An organization role makes a member of whoever is none yet.

    Raises:
        Forbidden: The role permits more than the caller's own, or the caller may not add members.
        InvalidInput: `expires` has passed, or somebody is to get a tenant's role who is no member of the organization.
        Conflict: The organization would have no administrator any more.
    """
    require_future(expires, place.now)
    place = place.locked()
    session = place.work.session
    require_to_change(place, [wanted])
    belongs = who.kind in {"team", "invitation"} or bool(
        repository.assignments(session, place.organization.id, [who.id], place.now)
    )
    if place.tenant is not None:
        require_organization_member(place, who)
    elif not belongs:
        place.standing.require("member:create")
        forget(place, who.id)
    row = _find(place, who, wanted)
    if row is not None and row.expires == expires:
        return row
    with place.keeping_an_administrator():
        if row is None:
            row = new_assignment(place, who, wanted, expires)
            session.add(row)
        else:
            row.expires, row.created_by = expires, place.standing.principal.id
    announce(place, who, "role.assign", {"given": [wanted.role]})
    return row


def unassign(place: Place, who: Account, wanted: Wanted) -> None:
    """Takes one role.

    Raises:
        NotFound: It is not held there.
        Forbidden: It permits more than the caller's own roles.
        Conflict: It is the one that makes a member of the organization, or that of its last administrator.
    """
    place = place.locked()
    session = place.work.session
    row = _find(place, who, wanted)
    if row is None:
        raise NotFound(f"{who.username} does not hold {wanted.role} in {place.name}.")
    require_to_change(place, [wanted])
    if place.tenant is None and who.kind != "team":
        others = repository.assignments(session, place.organization.id, [who.id], place.now).get(who.id, [])
        if all(each is row for each in others):
            what = "withdraw the invitation" if who.kind == "invitation" else "remove the member"
            raise Conflict(f"{who.username} holds no other role in {place.name}: give one first, or {what}.")
    with place.keeping_an_administrator():
        session.delete(row)
    announce(place, who, "role.unassign", {"taken": [wanted.role]})


def _find(place: Place, who: Account, wanted: Wanted) -> RoleAssignment | None:
    rows = repository.held(place.work.session, place.organization.id, who.id, tenant_id=place.tenant_id)
    return next((row for row in rows if (row.role, row.project_id) == (wanted.role, wanted.project_id)), None)
