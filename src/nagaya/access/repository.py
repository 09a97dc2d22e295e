"""All SQL of role assignments and shares, and of the accounts that hold them."""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, cast

from sqlalchemy import ColumnElement, Select, and_, delete, func, literal, null, or_, select, union_all
from sqlalchemy.orm import Session

from nagaya.access.models import RoleAssignment, Share
from nagaya.access.reach import AccessibleOrganizationId, AccessibleTenantId, in_force
from nagaya.access.roles import ORGANIZATION_ADMIN, ROLES_ENTERING_TENANTS
from nagaya.identity.models import ServiceAccount, User
from nagaya.identity.principal import PrincipalKind


@dataclass(frozen=True, slots=True)
class Account:
    """A user or a service account, as lists of members show it."""

    id: uuid.UUID
    kind: PrincipalKind
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
    null().label("email"),
    ServiceAccount.username.label("name"),
    ServiceAccount.is_active,
).where(ServiceAccount.deleted.is_(None))
_accounts = union_all(_users, _machines).subquery("accounts")
ACCOUNT_ID = _accounts.c.id

AccountRow = tuple[uuid.UUID, str, str, str | None, str, bool]
AccountSelect = Select[uuid.UUID, str, str, str | None, str, bool]


def organization_members(organization_id: AccessibleOrganizationId, now: dt.datetime) -> AccountSelect:
    """Returns the SELECT of an organization's members by username."""
    held = select(RoleAssignment.principal_id).where(
        RoleAssignment.organization_id == organization_id, RoleAssignment.level == "organization", in_force(now)
    )
    return _account_rows(_accounts.c.id.in_(held))


def tenant_members(
    organization_id: AccessibleOrganizationId, tenant_id: AccessibleTenantId, now: dt.datetime
) -> AccountSelect:
    """Returns the SELECT of a tenant's members by username; who only has something shared is not among them."""
    here = or_(
        RoleAssignment.tenant_id == tenant_id,
        and_(
            RoleAssignment.organization_id == organization_id,
            RoleAssignment.level == "organization",
            RoleAssignment.role.in_(ROLES_ENTERING_TENANTS),
        ),
    )
    return _account_rows(_accounts.c.id.in_(select(RoleAssignment.principal_id).where(here, in_force(now))))


def _account_rows(condition: ColumnElement[bool]) -> AccountSelect:
    statement = select(_accounts).where(condition).order_by(_accounts.c.username, _accounts.c.id)
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
    return Account(key, cast("Literal['user', 'service_account']", kind), username, email, name or username, is_active)


def assignments(
    session: Session,
    organization_id: uuid.UUID,
    principal_ids: Collection[uuid.UUID],
    now: dt.datetime,
    *,
    tenant_id: uuid.UUID | None = None,
) -> dict[uuid.UUID, list[RoleAssignment]]:
    """Returns the unexpired roles of principals in an organization, and in one of its tenants if it is given."""
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


def held(
    session: Session,
    organization_id: uuid.UUID,
    principal_id: uuid.UUID,
    *,
    level: str,
    tenant_id: uuid.UUID | None = None,
) -> list[RoleAssignment]:
    """Returns the rows of one principal at one place, expired ones included, which a new grant must replace."""
    place = RoleAssignment.tenant_id.is_(None) if tenant_id is None else RoleAssignment.tenant_id == tenant_id
    statement = select(RoleAssignment).where(
        RoleAssignment.organization_id == organization_id, RoleAssignment.principal_id == principal_id, place
    )
    if level == "organization":
        statement = statement.where(RoleAssignment.level == "organization")
    return list(session.scalars(statement.order_by(RoleAssignment.created, RoleAssignment.id)))


def other_administrators(session: Session, organization_id: uuid.UUID, principal_id: uuid.UUID) -> int:
    """Returns how many active people other than `principal_id` administer an organization without an end."""
    statement = (
        select(func.count(func.distinct(User.id)))
        .join(RoleAssignment, RoleAssignment.principal_id == User.id)
        .where(
            RoleAssignment.organization_id == organization_id,
            RoleAssignment.role == ORGANIZATION_ADMIN,
            RoleAssignment.expires.is_(None),
            User.id != principal_id,
            User.is_active.is_(True),
            User.deleted.is_(None),
        )
    )
    return session.scalar(statement) or 0


def remove_everything(
    session: Session, organization_id: uuid.UUID, principal_id: uuid.UUID, tenants: Select[uuid.UUID]
) -> None:
    """Deletes all roles of a principal in an organization, and all shares in the given tenants of it."""
    session.execute(
        delete(RoleAssignment).where(
            RoleAssignment.organization_id == organization_id, RoleAssignment.principal_id == principal_id
        )
    )
    session.execute(delete(Share).where(Share.principal_id == principal_id, Share.tenant_id.in_(tenants)))


def remove_shares(session: Session, tenant_id: uuid.UUID, principal_id: uuid.UUID) -> None:
    """Deletes everything that is shared with a principal in a tenant."""
    session.execute(delete(Share).where(Share.principal_id == principal_id, Share.tenant_id == tenant_id))
