"""Finds tenants whose stored specification has other addresses than the settings now mean, and has it written anew."""

import uuid
from collections.abc import Mapping

import structlog
from sqlalchemy import select, update

from nagaya.db.engine import Database
from nagaya.http.transactions import UnitOfWork
from nagaya.organizations.models import Organization
from nagaya.runtime.interface import TenantState
from nagaya.tenants.models import Tenant
from nagaya.tenants.spec import Addresses

log = structlog.get_logger("nagaya.tenants.readdressing")

BATCH = 500


def readdress(database: Database, addresses: Addresses, told: Mapping[uuid.UUID, TenantState]) -> int:
    """Gives every tenant whose addresses have changed a new generation, so that the reconciler applies it again.

    Whatever interrupts it, the next comparison with the runtime finds the rest; two processes that do it at once raise
    a generation only once.

    Args:
        database: The control database.
        addresses: Where things are reached now.
        told: What the runtime holds, by tenant.

    Returns:
        The number of tenants.
    """
    known = [key for key, state in told.items() if state.server_url is not None]
    changed = 0
    for start in range(0, len(known), BATCH):
        changed += _batch(database, addresses, told, known[start : start + BATCH])
    if changed:
        log.info("addresses have changed", tenants=changed, public_url=addresses.public_url)
    return changed


def _batch(
    database: Database, addresses: Addresses, told: Mapping[uuid.UUID, TenantState], keys: list[uuid.UUID]
) -> int:
    settled = (Tenant.purged.is_(None), Tenant.generation == Tenant.applied_generation)
    statement = (
        select(Tenant.id, Tenant.name, Tenant.generation, Organization.name)
        .join(Organization, Organization.id == Tenant.organization_id)
        .where(Tenant.id.in_(keys), *settled)
    )
    with database.read() as session:
        rows = session.execute(statement).all()
    stale = [
        (tenant_id, generation)
        for tenant_id, name, generation, organization in rows
        if (told[tenant_id].public_url, told[tenant_id].server_url)
        != (addresses.public_url, addresses.tenant_url(organization, name))
    ]
    if not stale:
        return 0
    with UnitOfWork(database) as work:
        for tenant_id, generation in stale:
            work.session.execute(
                update(Tenant)
                .where(Tenant.id == tenant_id, Tenant.generation == generation, *settled)
                .values(generation=generation + 1, updated=Tenant.updated)
                .execution_options(synchronize_session=False)
            )
    return len(stale)
