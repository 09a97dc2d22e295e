"""Where roles are given and taken, the lock that orders such changes, and what a request wants to be held there."""

import datetime as dt
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy import select

from nagaya.access import repository
from nagaya.access.models import RoleAssignment
from nagaya.access.repository import Account
from nagaya.access.roles import assignable_role
from nagaya.access.standing import Standing, standing_of
from nagaya.errors import Conflict, InvalidInput
from nagaya.http.transactions import UnitOfWork
from nagaya.organizations.models import Organization
from nagaya.tenants.models import Tenant
from nagaya_policy import PREDEFINED_ROLES


@dataclass(frozen=True, slots=True)
class Place:
    """Where roles are given: an organization, or a tenant of it.

    Args:
        work: Unit of work of the request.
        standing: The caller's own roles there.
        organization: The organization.
        tenant: The tenant, if it is one.
        now: Current time.
    """

    work: UnitOfWork
    standing: Standing
    organization: Organization
    tenant: Tenant | None
    now: dt.datetime

    @property
    def level(self) -> str:
        """`organization` or `tenant`."""
        return "organization" if self.tenant is None else "tenant"

    @property
    def tenant_id(self) -> uuid.UUID | None:
        """Id of the tenant, if it is one."""
        return None if self.tenant is None else self.tenant.id

    @property
    def name(self) -> str:
        """How sentences call the place."""
        return self.organization.name if self.tenant is None else f"{self.organization.name}/{self.tenant.name}"

    def locked(self) -> "Place":
        """Lets changes of one organization's people happen one after the other, or two could remove each other.

        Returns:
            The place with the caller's roles as they are now that nobody else can change them.
        """
        session = self.work.session
        session.execute(select(Organization.id).where(Organization.id == self.organization.id).with_for_update())
        standing = standing_of(session, self.standing.principal, self.organization.id, self.tenant_id, self.now)
        return replace(self, standing=standing)

    @contextmanager
    def keeping_an_administrator(self) -> Iterator[None]:
        """Refuses a change that takes the last administrator from the organization. The place must be locked.

        A role that ends is as good as none: nobody would be left to give it again.

        Raises:
            Conflict: Nobody would administer the organization any more, neither directly nor through a team.
        """
        session, organization = self.work.session, self.organization
        session.flush()
        before = repository.lasting_administrators(session, organization.id)
        yield
        session.flush()
        if before and not repository.lasting_administrators(session, organization.id):
            raise Conflict(
                f"Nobody would be left who administers {organization.name}: make somebody else administrator first."
            )


@dataclass(frozen=True, slots=True)
class Wanted:
    """One role that somebody is to hold; `project_id` for project roles only."""

    role: str
    project_id: uuid.UUID | None = None


def wanted_roles(
    roles: Collection[str], *levels: str, project_id: uuid.UUID | None = None, at: str = "organization"
) -> list[Wanted]:
    """Returns the roles that a request names by name, id or alias.

    Args:
        roles: The names.
        levels: The levels that fit the place; by default those of `at`.
        project_id: The project of project roles.
        at: `organization` or `tenant`.

    Raises:
        InvalidInput: One is named twice, does not exist, or does not fit the place.
    """
    fitting = levels or (("organization",) if at == "organization" else ("tenant", "project"))
    if project_id is not None:
        fitting = tuple(reversed(fitting))
    return checked([Wanted(assignable_role(role, *fitting).name, project_id) for role in roles])


def checked(wanted: Collection[Wanted]) -> list[Wanted]:
    """Returns roles that exist, after checking that none is wanted twice and projects stand where they belong.

    Raises:
        InvalidInput: They are not acceptable.
    """
    if len(set(wanted)) != len(wanted):
        raise InvalidInput("A role is named twice.", fields={"roles": "must not name a role twice"})
    for each in wanted:
        role = PREDEFINED_ROLES[each.role]
        if (role.level == "project") is not (each.project_id is not None):
            needs = (
                "needs the id of a project"
                if role.level == "project"
                else f"is a role of the whole {role.level}, not of a project"
            )
            raise InvalidInput(f"{role.name} {needs}.", fields={"project_id": f"{role.name} {needs}."})
    return sorted(wanted, key=lambda item: (item.role, str(item.project_id)))


def require_future(expires: dt.datetime | None, now: dt.datetime) -> None:
    """Raises InvalidInput unless a time at which roles are to end lies ahead and has a zone."""
    if expires is not None and (expires.tzinfo is None or expires <= now):
        sentence = "expires must be a time in the future with a time zone, e.g. 2030-01-31T12:00:00Z."
        raise InvalidInput(sentence, fields={"expires": sentence})


def new_assignment(place: Place, who: Account, wanted: Wanted, expires: dt.datetime | None) -> RoleAssignment:
    """Returns the row of a role that the caller gives at a place."""
    return RoleAssignment(
        organization_id=place.organization.id,
        principal_id=who.id,
        principal_kind=who.kind,
        role=wanted.role,
        level=PREDEFINED_ROLES[wanted.role].level,
        tenant_id=place.tenant_id,
        project_id=wanted.project_id,
        expires=expires,
        created_by=place.standing.principal.id,
    )
