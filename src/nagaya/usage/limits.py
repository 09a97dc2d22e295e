"""Limits: which features of a tenant are used up, and the refusal of one more."""

import uuid

from sqlalchemy.orm import Session

from nagaya.errors import LimitReached
from nagaya.usage import repository
from nagaya.usage.repository import Counts


def exhausted(session: Session, tenants: dict[uuid.UUID, uuid.UUID]) -> dict[uuid.UUID, Counts]:
    """Returns the features whose limit is reached, by tenant: of the tenant itself or of its organization.

    Args:
        session: Database session.
        tenants: Organization by tenant.

    Returns:
        By tenant, zero for each such feature: the form in which a policy document carries it.
    """
    organizations = set(tenants.values())
    limits = repository.limits(session, [*tenants, *organizations])
    if not limits:
        return {}
    whole = repository.organization_counts(session, [each for each in organizations if each in limits])
    single = repository.counts(session, [each for each in tenants if each in limits])
    found: dict[uuid.UUID, Counts] = {}
    for tenant_id, organization_id in tenants.items():
        reached = _reached(limits.get(tenant_id, {}), single.get(tenant_id, {}))
        reached |= _reached(limits.get(organization_id, {}), whole.get(organization_id, {}))
        if reached:
            found[tenant_id] = dict.fromkeys(sorted(reached), 0)
    return found


def _reached(limits: Counts, used: Counts) -> set[str]:
    return {feature for feature, maximum in limits.items() if used.get(feature, 0) >= maximum}


def require(session: Session, tenant_id: uuid.UUID, organization_id: uuid.UUID, feature: str) -> None:
    """Refuses one more resource of a feature if a limit is reached.

    Raises:
        LimitReached: Of the tenant or of the organization; the message says of which, and how much it is.
    """
    limits = repository.limits(session, [tenant_id, organization_id])
    checks = (
        ("tenant", limits.get(tenant_id, {}), repository.counts, tenant_id),
        ("organization", limits.get(organization_id, {}), repository.organization_counts, organization_id),
    )
    for noun, mine, read, key in checks:
        maximum = mine.get(feature)
        if maximum is not None and (used := read(session, [key]).get(key, {}).get(feature, 0)) >= maximum:
            raise LimitReached(
                f"The limit of this {noun} for {feature} is reached ({used} of {maximum}); "
                "ask an administrator of the organization."
            )
