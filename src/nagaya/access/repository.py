"""All SQL of role assignments and shares, and of the accounts that hold them."""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, cast

from sqlalchemy import ColumnElement, Select, String, and_, delete, func, literal, null, or_, select, union_all
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Session

from nagaya.access.models import RoleAssignment, Share
from nagaya.access.reach import AccessibleOrganizationId, AccessibleTenantId, in_force
from nagaya.access.roles import ORGANIZATION_ADMIN, ROLES_ENTERING_TENANTS
from nagaya.db.search import contains
from nagaya.identity.models import ServiceAccount, User
from nagaya.identity.principal import Principal
from nagaya.invitations.models import Invitation
from nagaya.teams.models import Team, TeamMember

HolderKind = Literal["user", "service_account", "team", "invitation"]


@dataclass(frozen=True, slots=True)
class Account:
    """Who can hold roles, as lists of members show it: a user, a service account, a team, an open invitation."""

    id: uuid.UUID
    kind: HolderKind
    username: str
    email: str | None
    name: str
    is_active: bool


_users = select(
    User.id,
    literal("user").label("kind"),
    User.username,
    User.email,
    User.name,
    User.is_active,
).where(User.deleted.is_(None))
_machines = select(
    ServiceAccount.id,
    literal("service_account").label("kind"),
    ServiceAccount.username,
    sql_cast(null(), String).label("email"),
    ServiceAccount.username.label("name"),
    ServiceAccount.is_active,
).where(ServiceAccount.deleted.is_(None))
_accounts = union_all(_users, _machines).subquery("accounts")
ACCOUNT_ID = _accounts.c.id

AccountRow = tuple[uuid.UUID, str, str, str | None, str, bool]
AccountSelect = Select[uuid.UUID, str, str, str | None, str, bool]


def belonging(organization_id: uuid.UUID, now: dt.datetime) -> Select[uuid.UUID]:
    """Returns the SELECT of the ids of whoever belongs to an organization: by an own role in it, not by a team's."""
    return select(RoleAssignment.principal_id).where(
        RoleAssignment.organization_id == organization_id,
        RoleAssignment.principal_kind.in_(("user", "service_account")),
        RoleAssignment.level == "organization",
        in_force(now),
    )


def organization_members(
    organization_id: AccessibleOrganizationId, now: dt.datetime, *, search: str | None = None
) -> AccountSelect:
    """Returns the SELECT of an organization's members by username."""
    return _account_rows(_accounts.c.id.in_(belonging(organization_id, now)), search)


def tenant_members(
    organization_id: AccessibleOrganizationId,
    tenant_id: AccessibleTenantId,
    now: dt.datetime,
    *,
    search: str | None = None,
    kind: str | None = None,
) -> AccountSelect:
    """Returns the SELECT of a tenant's members by username; who only has something shared is not among them."""
    holders = select(RoleAssignment.principal_id).where(_here(organization_id, tenant_id), in_force(now))
    in_teams = select(TeamMember.principal_id).where(TeamMember.team_id.in_(holders))
    holding = or_(_accounts.c.id.in_(holders), _accounts.c.id.in_(in_teams))
    condition = and_(holding, _accounts.c.id.in_(belonging(organization_id, now)))
    return _account_rows(condition if kind is None else and_(condition, _accounts.c.kind == kind), search)


def tenant_teams(
    organization_id: AccessibleOrganizationId,
    tenant_id: AccessibleTenantId,
    now: dt.datetime,
    *,
    search: str | None = None,
) -> AccountSelect:
    """Returns the SELECT of the teams that hold roles in a tenant, by name, in the shape of members."""
    holders = select(RoleAssignment.principal_id).where(_here(organization_id, tenant_id), in_force(now))
    statement = (
        select(
            Team.id,
            literal("team").label("kind"),
            Team.name,
            sql_cast(null(), String).label("email"),
            Team.name.label("label"),
            literal(True).label("is_active"),
        )
        .where(Team.organization_id == organization_id, Team.id.in_(holders))
        .order_by(Team.name_key, Team.id)
    )
    return statement if search is None else statement.where(contains(search, Team.name, Team.description))


def members_of_team(team_id: uuid.UUID, *, search: str | None = None) -> AccountSelect:
    """Returns the SELECT of the users and service accounts in a team, by username."""
    inside = select(TeamMember.principal_id).where(TeamMember.team_id == team_id)
    return _account_rows(_accounts.c.id.in_(inside), search)


def _here(organization_id: uuid.UUID, tenant_id: uuid.UUID) -> ColumnElement[bool]:
    return or_(
        RoleAssignment.tenant_id == tenant_id,
        and_(
            RoleAssignment.organization_id == organization_id,
            RoleAssignment.level == "organization",
            RoleAssignment.role.in_(ROLES_ENTERING_TENANTS),
        ),
    )


def _account_rows(condition: ColumnElement[bool], search: str | None) -> AccountSelect:
    statement = select(_accounts).where(condition).order_by(_accounts.c.username, _accounts.c.id)
    if search is not None:
        statement = statement.where(contains(search, _accounts.c.username, _accounts.c.email, _accounts.c.name))
    return cast("AccountSelect", statement)


def account_page(session: Session, statement: AccountSelect, offset: int, limit: int) -> tuple[int, list[Account]]:
    """Runs one of the SELECTs above for one page.

    Returns:
        The number of all rows, and the rows of the page.
    """
    total = session.scalar(select(func.count()).select_from(statement.order_by(None).subquery())) or 0
    return total, [_account(row) for row in session.execute(statement.offset(offset).limit(limit))]


def account(session: Session, principal_id: uuid.UUID) -> Account | None:
    """Returns the user or service account of an id unless it is deleted."""
    row = session.execute(select(_accounts).where(_accounts.c.id == principal_id)).first()
    return None if row is None else _account(cast("AccountRow", row))


def principal(session: Session, principal_id: uuid.UUID) -> Principal | None:
    """Returns a user or service account as one that acts, without a session; None if it is deleted."""
    who = account(session, principal_id)
    if who is None:
        return None
    user = session.get(User, principal_id)
    return Principal(
        id=who.id,
        kind="service_account" if user is None else "user",
        username=who.username,
        email=who.email,
        name=who.name,
        superuser=user is not None and user.is_superuser,
        session_id=None,
    )


def team_account(session: Session, organization_id: uuid.UUID, team_id: uuid.UUID) -> Account | None:
    """Returns a team of an organization as one that can hold roles."""
    team = session.get(Team, team_id)
    if team is None or team.organization_id != organization_id:
        return None
    return Account(team.id, "team", team.name, None, team.name, is_active=True)


def find_account(session: Session, organization_id: uuid.UUID, text: str) -> Account | None:
    """Returns whom an id, username or e-mail address means: a user, or a service account of the organization."""
    own = select(ServiceAccount.id).where(ServiceAccount.organization_id == organization_id)
    try:
        condition: ColumnElement[bool] = _accounts.c.id == uuid.UUID(text)
    except ValueError:
        condition = or_(_accounts.c.username == text, func.lower(_accounts.c.email) == text.lower())
    visible = or_(_accounts.c.kind == "user", _accounts.c.id.in_(own))
    # A username may look like somebody else's address; the username then wins.
    by_username = (_accounts.c.username == text).desc()
    row = session.execute(select(_accounts).where(condition, visible).order_by(by_username)).first()
    return None if row is None else _account(cast("AccountRow", row))


def _account(row: AccountRow) -> Account:
    key, kind, username, email, name, is_active = row
    return Account(key, cast("HolderKind", kind), username, email, name or username, is_active)


def assignments(
    session: Session,
    organization_id: uuid.UUID,
    principal_ids: Collection[uuid.UUID],
    now: dt.datetime,
    *,
    tenant_id: uuid.UUID | None = None,
) -> dict[uuid.UUID, list[RoleAssignment]]:
    """Returns the principals' own unexpired roles in an organization, and in one of its tenants if it is given."""
    place: ColumnElement[bool] = RoleAssignment.level == "organization"
    if tenant_id is not None:
        place = or_(place, RoleAssignment.tenant_id == tenant_id)
    rows = session.scalars(
        select(RoleAssignment)
        .where(
            RoleAssignment.organization_id == organization_id,
            RoleAssignment.principal_id.in_(principal_ids),
            place,
            in_force(now),
        )
        .order_by(RoleAssignment.created, RoleAssignment.id)
    )
    found: dict[uuid.UUID, list[RoleAssignment]] = defaultdict(list)
    for row in rows:
        found[row.principal_id].append(row)
    return found


def teams_with_roles(
    session: Session,
    organization_id: uuid.UUID,
    principal_ids: Collection[uuid.UUID],
    now: dt.datetime,
    *,
    tenant_id: uuid.UUID | None = None,
) -> dict[uuid.UUID, list[tuple[Team, RoleAssignment]]]:
    """Returns the unexpired roles that principals have through teams at a place, with the team, by its name."""
    place: ColumnElement[bool] = RoleAssignment.level == "organization"
    if tenant_id is not None:
        place = or_(place, RoleAssignment.tenant_id == tenant_id)
    rows = session.execute(
        select(TeamMember.principal_id, Team, RoleAssignment)
        .join(Team, Team.id == TeamMember.team_id)
        .join(RoleAssignment, RoleAssignment.principal_id == Team.id)
        .where(
            Team.organization_id == organization_id,
            TeamMember.principal_id.in_(principal_ids),
            place,
            in_force(now),
        )
        .order_by(Team.name_key, RoleAssignment.created, RoleAssignment.id)
    )
    found: dict[uuid.UUID, list[tuple[Team, RoleAssignment]]] = defaultdict(list)
    for principal_id, team, row in rows:
        found[principal_id].append((team, row))
    return found


def held(
    session: Session, organization_id: uuid.UUID, principal_id: uuid.UUID, *, tenant_id: uuid.UUID | None = None
) -> list[RoleAssignment]:
    """Returns the own rows of one principal at one place, expired ones included, which a new grant must replace.

    Args:
        session: Database session.
        organization_id: The organization.
        principal_id: Who.
        tenant_id: The tenant, if the place is one; else the roles in the organization itself are meant.
    """
    place = RoleAssignment.tenant_id.is_(None) if tenant_id is None else RoleAssignment.tenant_id == tenant_id
    statement = select(RoleAssignment).where(
        RoleAssignment.organization_id == organization_id, RoleAssignment.principal_id == principal_id, place
    )
    return list(session.scalars(statement.order_by(RoleAssignment.created, RoleAssignment.id)))


def role_assignments(
    organization_id: uuid.UUID,
    role: str,
    now: dt.datetime,
    *,
    tenant_id: uuid.UUID | None = None,
    project_id: uuid.UUID | None = None,
    principal_id: uuid.UUID | None = None,
) -> Select[RoleAssignment]:
    """Returns the SELECT of who holds a role in an organization, in the order in which it was given.

    Args:
        organization_id: The organization.
        role: Name of the role.
        now: Current time; expired ones are left out.
        tenant_id: Only in this tenant.
        project_id: Only in this project.
        principal_id: Only this holder's.
    """
    statement = select(RoleAssignment).where(
        RoleAssignment.organization_id == organization_id, RoleAssignment.role == role, in_force(now)
    )
    if tenant_id is not None:
        statement = statement.where(RoleAssignment.tenant_id == tenant_id)
    if project_id is not None:
        statement = statement.where(RoleAssignment.project_id == project_id)
    if principal_id is not None:
        statement = statement.where(RoleAssignment.principal_id == principal_id)
    return statement.order_by(RoleAssignment.created, RoleAssignment.id)


def holder_names(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Returns how to show whoever holds roles: usernames, names of teams, addresses of invitations."""
    named = union_all(
        select(User.id, User.username.label("name")).where(User.id.in_(ids)),
        select(ServiceAccount.id, ServiceAccount.username).where(ServiceAccount.id.in_(ids)),
        select(Team.id, Team.name).where(Team.id.in_(ids)),
        select(Invitation.id, Invitation.email).where(Invitation.id.in_(ids)),
    )
    return {row.id: row.name for row in session.execute(named)}


def lasting_administrators(session: Session, organization_id: uuid.UUID) -> int:
    """Returns how many active people administer an organization without an end, themselves or through a team."""
    lasting = and_(RoleAssignment.organization_id == organization_id, RoleAssignment.expires.is_(None))
    members = select(RoleAssignment.principal_id).where(lasting, RoleAssignment.level == "organization")
    administrators = select(RoleAssignment.principal_id).where(lasting, RoleAssignment.role == ORGANIZATION_ADMIN)
    in_teams = select(TeamMember.principal_id).where(TeamMember.team_id.in_(administrators))
    statement = (
        select(func.count())
        .select_from(User)
        .where(
            User.is_active.is_(True),
            User.deleted.is_(None),
            User.id.in_(members),
            or_(User.id.in_(administrators), User.id.in_(in_teams)),
        )
    )
    return session.scalar(statement) or 0


def remove_everything(
    session: Session, organization_id: uuid.UUID, principal_id: uuid.UUID, tenants: Select[uuid.UUID]
) -> None:
    """Deletes all that a principal has in an organization: roles, places in teams, shares in the given tenants."""
    session.execute(
        delete(RoleAssignment).where(
            RoleAssignment.organization_id == organization_id, RoleAssignment.principal_id == principal_id
        )
    )
    session.execute(delete(Share).where(Share.principal_id == principal_id, Share.tenant_id.in_(tenants)))
    teams = select(Team.id).where(Team.organization_id == organization_id)
    session.execute(delete(TeamMember).where(TeamMember.principal_id == principal_id, TeamMember.team_id.in_(teams)))


def remove_shares(session: Session, tenant_id: uuid.UUID, principal_id: uuid.UUID) -> None:
    """Deletes everything that is shared with a principal in a tenant."""
    session.execute(delete(Share).where(Share.principal_id == principal_id, Share.tenant_id == tenant_id))
