"""Who may hold a key of a service account: whoever could give all that the account holds."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from nagaya.access.models import RoleAssignment, Share
from nagaya.access.reach import in_force
from nagaya.access.roles import TENANT_ADMIN
from nagaya.access.standing import Standing, standing_of
from nagaya.errors import Forbidden
from nagaya.identity.models import ServiceAccount
from nagaya_policy import PREDEFINED_ROLES


def require_key(session: Session, standing: Standing, account: ServiceAccount) -> None:
    """Refuses a key to those to whom it would give more than their own roles.

    Args:
        session: Database session.
        standing: What the caller holds in the account's organization.
        account: The service account.

    Raises:
        Forbidden: The account holds a role that the caller could not give, or something is shared with it in a tenant
            that the caller does not administer.
    """
    if standing.principal.superuser:
        return
    held = session.scalars(
        select(RoleAssignment).where(
            RoleAssignment.principal_id == account.id,
            RoleAssignment.organization_id == account.organization_id,
            in_force(standing.now),
        )
    ).all()
    shared = session.scalars(select(Share.tenant_id).where(Share.principal_id == account.id).distinct()).all()
    places = {
        tenant_id: standing_of(session, standing.principal, account.organization_id, tenant_id, standing.now)
        for tenant_id in {row.tenant_id for row in held if row.tenant_id is not None} | set(shared)
    }
    for row in held:
        place = standing if row.tenant_id is None else places[row.tenant_id]
        try:
            place.require_assignment(PREDEFINED_ROLES[row.role], row.project_id)
        except Forbidden as error:
            raise Forbidden(f"A key of {account.username} would give you more than you have. {error.detail}") from error
    for tenant_id in shared:
        if not any(grant.role.name == TENANT_ADMIN for grant in places[tenant_id].tenant_grants):
            raise Forbidden(
                f"Resources of a tenant are shared with {account.username}: a key of it takes an administrator of that "
                "tenant."
            )
