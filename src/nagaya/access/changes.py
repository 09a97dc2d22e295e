"""Tells tenants that who may do what in them has changed: in the transaction of the change, and at once after it."""

import json
import uuid
from collections.abc import Iterable
from functools import partial

from sqlalchemy import ColumnElement, or_, select, update

from nagaya.access.models import RoleAssignment, Share
from nagaya.db import signals
from nagaya.http.transactions import UnitOfWork
from nagaya.identity.models import User
from nagaya.tenants import bus
from nagaya.tenants.models import Tenant

TOPIC = "tenant"


def tenant_changed(work: UnitOfWork, tenant_id: uuid.UUID) -> None:
    """Announces that roles or shares in one tenant have changed."""
    _raise_policies(work, Tenant.id == tenant_id)


def organization_changed(work: UnitOfWork, organization_id: uuid.UUID) -> None:
    """Announces that roles in an organization have changed, which concerns all its tenants."""
    _raise_policies(work, Tenant.organization_id == organization_id)


def principal_changed(work: UnitOfWork, principal_id: uuid.UUID) -> None:
    """Announces a change of a user or service account: name, activity, `valid_after`, or a session that was revoked.

    Concerns the tenants of every organization in which the principal holds a role or a share; all tenants, if the
    principal is a superuser.
    """
    if work.session.scalar(select(User.is_superuser).where(User.id == principal_id)):
        everybody_changed(work)
        return
    organizations = select(RoleAssignment.organization_id).where(RoleAssignment.principal_id == principal_id)
    shares = select(Share.tenant_id).where(Share.principal_id == principal_id)
    _raise_policies(work, or_(Tenant.organization_id.in_(organizations), Tenant.id.in_(shares)))


def team_changed(work: UnitOfWork, team_id: uuid.UUID) -> None:
    """Announces a change of a team: its name, its members, or what it holds.

    Concerns the tenants in which the team holds a role or a share, and all of the organization if it holds a role in
    that. To be called while the rows of what is taken are still there, or again after rows were added.
    """
    held = select(RoleAssignment.tenant_id).where(RoleAssignment.principal_id == team_id)
    whole = select(RoleAssignment.organization_id).where(
        RoleAssignment.principal_id == team_id, RoleAssignment.tenant_id.is_(None)
    )
    shares = select(Share.tenant_id).where(Share.principal_id == team_id)
    concerned = or_(
        Tenant.id.in_(held.where(RoleAssignment.tenant_id.is_not(None))),
        Tenant.organization_id.in_(whole),
        Tenant.id.in_(shares),
    )
    _raise_policies(work, concerned)


def everybody_changed(work: UnitOfWork) -> None:
    """Announces something that concerns every tenant: who is superuser, or the keys that tokens are signed with."""
    _raise_policies(work, Tenant.purged.is_(None))


def announce(work: UnitOfWork, tenant_ids: Iterable[uuid.UUID]) -> None:
    """Writes the signal that wakes the reconcilers of all api processes, this one's directly after the commit.

    Args:
        work: The unit of work of the change.
        tenant_ids: Tenants whose row changed.
    """
    ids = list(tenant_ids)
    if not ids:
        return
    signals.send(work.session, TOPIC, json.dumps([str(each) for each in ids]))
    work.after_commit(partial(bus.deliver, work.session.get_bind(), tuple(ids)))


def _raise_policies(work: UnitOfWork, condition: ColumnElement[bool]) -> None:
    session = work.session
    session.flush()
    ids = session.scalars(select(Tenant.id).where(condition, Tenant.purged.is_(None))).all()
    if not ids:
        return
    # `updated` tells people when somebody changed the tenant; a new policy version is not such a change.
    session.execute(
        update(Tenant)
        .where(condition, Tenant.purged.is_(None))
        .values(policy_version=Tenant.policy_version + 1, updated=Tenant.updated)
        .execution_options(synchronize_session=False)
    )
    announce(work, ids)
