"""Rules of tenants: how they are made, changed, deployed, deactivated, deleted and restored."""

import datetime as dt
import re
import unicodedata
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from nagaya import audit
from nagaya.access import changes
from nagaya.access.models import RoleAssignment
from nagaya.access.policy import OrganizationAccess, TenantAccess
from nagaya.access.roles import TENANT_ADMIN
from nagaya.errors import Conflict, InvalidInput
from nagaya.http.schemas import SLUG
from nagaya.http.transactions import UnitOfWork
from nagaya.identity.principal import Principal
from nagaya.operations import service as operations
from nagaya.operations.models import Operation
from nagaya.organizations.models import Organization
from nagaya.tenants import enrollment, repository
from nagaya.tenants.lifecycle import STORED, Event, State, follow, state_of
from nagaya.tenants.models import Tenant
from nagaya.tenants.platform import TenantPlatform
from nagaya.tenants.schemas import TenantCreate
from nagaya.tenants.secrets import COLUMNS

RESTORABLE = dt.timedelta(days=7)
RESERVED_NAMES = frozenset({"deactivate", "deploy", "enrollment_key", "limits", "logs", "members", "restore"})
"""Last parts of addresses of the API that would clash with `GET /tenants/{organization}/{name}`."""
SPECIFIED = frozenset({"hibernate", "idle_seconds"})
"""Fields whose change the runtime has to learn of."""
HOSTED_ONLY = SPECIFIED | {"version"}
"""Fields that mean nothing for a tenant whose server runs elsewhere."""


@dataclass(frozen=True, slots=True)
class Tenants:
    """The service for one request.

    Args:
        work: Unit of work of the request.
        platform: Keys, addresses, engines.
        now: Current time.
    """

    work: UnitOfWork
    platform: TenantPlatform
    now: dt.datetime

    def create(
        self, access: OrganizationAccess, body: TenantCreate, *, key: str | None = None, enroll: bool = False
    ) -> tuple[Tenant, Operation]:
        """Makes a tenant, whose deployment starts right after the commit.

        Args:
            access: The organization; the permission to create tenants there was checked.
            body: What is wanted.
            key: Idempotency key. A repeated request with the same key gets the tenant of the first.
            enroll: Whether its server runs elsewhere and is only waited for.

        Raises:
            InvalidInput: No name can be made from the display name, the ZenML version is not installed, or something is
                asked for that only a server of the platform has.
            Conflict: The name is taken, or the key was used for something else.
        """
        name = body.name or slug_of(body.display_name)
        kind = "enroll" if enroll else "create"
        if key is not None and (earlier := self._earlier(access, name, key, kind)) is not None:
            return earlier
        require_free(self.work, access.organization, name)
        principal = access.standing.principal
        stored = STORED[State.DEPLOYING]
        tenant_id = uuid.uuid4()
        tenant = Tenant(
            id=tenant_id,
            organization_id=access.organization.id,
            name=name,
            display_name=body.display_name or name,
            desired_state=stored.desired_state,
            status=stored.status,
            status_changed=self.now,
            created_by=principal.id,
            **body.model_dump(include={"description", "documentation", "stage", "labels", "protected"}),
            **(self._elsewhere(body) if enroll else self._here(body, tenant_id)),
        )
        self.work.session.add(tenant)
        self.work.session.flush()
        self._grant(tenant, principal)
        operation = operations.begin(self.work, tenant, kind, principal.id, self.now, key=key)
        self._audit(f"tenant.{kind}", tenant, access.organization, {} if enroll else {"version": tenant.version})
        changes.announce(self.work, [tenant.id])
        return tenant, operation

    def _here(self, body: TenantCreate, tenant_id: uuid.UUID) -> dict[str, Any]:
        """Returns what only a tenant whose server the platform runs has."""
        return {
            "version": self.platform.engines.choose(body.version),
            "hibernate": body.hibernate,
            "idle_seconds": body.idle_seconds or self.platform.defaults.idle_seconds,
            # The process that takes the request does the work: nobody else has to be asked first.
            "lease_owner": self.platform.owner,
            "lease_until": self.now + dt.timedelta(seconds=self.platform.lease_seconds),
            **self.platform.secrets.generate(tenant_id),
        }

    def _elsewhere(self, body: TenantCreate) -> dict[str, Any]:
        """Returns what a tenant whose server runs elsewhere has instead."""
        if foreign := sorted(body.model_fields_set & HOSTED_ONLY):
            sentence = "is decided where the server runs; leave it out"
            raise InvalidInput(f"{', '.join(foreign)} {sentence}.", fields=dict.fromkeys(foreign, sentence))
        none = dict.fromkeys(COLUMNS.values(), "")
        return {
            "enrolled": True,
            "version": "",
            "hibernate": False,
            "idle_seconds": self.platform.defaults.idle_seconds,
            "liveness": "unknown",
            "activity": "unknown",
            "status_reason": enrollment.WAITING,
            **none,
        }

    def _grant(self, tenant: Tenant, principal: Principal) -> None:
        """Makes the creator administrator of the tenant; superusers are that everywhere."""
        if principal.superuser:
            return
        self.work.session.add(
            RoleAssignment(
                organization_id=tenant.organization_id,
                principal_id=principal.id,
                principal_kind=principal.kind,
                role=TENANT_ADMIN,
                level="tenant",
                tenant_id=tenant.id,
                created_by=principal.id,
            )
        )
        self.work.session.flush()

    def _earlier(self, access: OrganizationAccess, name: str, key: str, kind: str) -> tuple[Tenant, Operation] | None:
        operation = self.work.session.scalar(
            select(Operation).where(
                Operation.principal_id == access.standing.principal.id, Operation.idempotency_key == key
            )
        )
        if operation is None:
            return None
        tenant = self.work.session.get(Tenant, operation.tenant_id)
        same = tenant is not None and tenant.organization_id == access.organization.id and tenant.name == name
        if operation.kind != kind or tenant is None or not same:
            raise Conflict("This Idempotency-Key was used for another request: use a new one.")
        return tenant, operation

    def change(self, access: TenantAccess, changed: dict[str, Any]) -> None:
        """Changes settings of a tenant.

        Args:
            access: The tenant.
            changed: New values by column.

        Raises:
            Conflict: Another ZenML version is wanted, or the tenant is deleted.
        """
        tenant = access.tenant
        version = changed.pop("version", None)
        if tenant.enrolled and (version is not None or SPECIFIED.intersection(changed)):
            raise Conflict(f"The server of {access.name} runs elsewhere: its version and its sleep are decided there.")
        if version is not None and version != tenant.version:
            raise Conflict(
                f"{access.name} runs ZenML {tenant.version}: changing the version of a tenant is not possible yet."
            )
        if tenant.desired_state == "deleted":
            raise Conflict(f"{access.name} is deleted: restore it before you change it.")
        differing = sorted(name for name, value in changed.items() if getattr(tenant, name) != value)
        for name in differing:
            setattr(tenant, name, changed[name])
        if not differing:
            return
        if SPECIFIED.intersection(differing):
            tenant.generation += 1
            changes.announce(self.work, [tenant.id])
        self._audit("tenant.update", tenant, access.organization, {"fields": differing})

    def act(self, access: TenantAccess, event: Event) -> Operation:
        """Deploys, deactivates, deletes or restores a tenant.

        Args:
            access: The tenant.
            event: Which of these.

        Raises:
            Conflict: It does not fit the tenant's state, or the tenant is protected from deletion.
        """
        tenant = access.tenant
        after = follow(state_of(tenant.desired_state, tenant.status), event, access.name)
        if event is Event.DELETE:
            if tenant.protected:
                raise Conflict(
                    f"{access.name} is protected from deletion: turn `protected` off first "
                    f'(PATCH /tenants/{tenant.id} with {{"protected": false}}).'
                )
            tenant.deleted = self.now
            tenant.purge_after = self.now + RESTORABLE
        elif event is Event.RESTORE:
            tenant.deleted = None
            tenant.purge_after = None
        tenant.status_reason = ""
        if tenant.enrolled:
            after = enrollment.settle(tenant, after, self.now)
        tenant.desired_state, tenant.status = STORED[after]
        tenant.status_changed = self.now
        tenant.generation += 1
        principal = access.standing.principal
        operation = operations.begin(self.work, tenant, event.value, principal.id, self.now)
        if tenant.enrolled:
            operations.finish(operation, "succeeded", self.now)
        self._audit(f"tenant.{event.value}", tenant, access.organization, {})
        changes.announce(self.work, [tenant.id])
        return operation

    def _audit(self, action: str, tenant: Tenant, organization: Organization, details: dict[str, Any]) -> None:
        audit.record(
            self.work,
            action,
            audit.Target("tenant", tenant.id, f"{organization.name}/{tenant.name}"),
            organization_id=organization.id,
            tenant_id=tenant.id,
            details=details,
        )


def slug_of(display_name: str | None) -> str:
    """Returns the name that a display name gives: lower-case ASCII letters and digits with single hyphens.

    Raises:
        InvalidInput: There is no display name, or too little of it is left.
    """
    text = unicodedata.normalize("NFKD", display_name or "").encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", text).strip("-")
    slug = slug.lstrip("0123456789-")[:30].rstrip("-")
    if not re.fullmatch(SLUG[1:-1], slug):
        sentence = (
            "Give a name: 2 to 30 lower-case letters, digits and single hyphens, starting with a letter."
            if not display_name
            else f"No name can be made from {display_name!r}: give a name of lower-case letters and digits as well."
        )
        raise InvalidInput(sentence, fields={"name": sentence})
    return slug


def require_free(work: UnitOfWork, organization: Organization, name: str) -> None:
    """Raises Conflict unless a tenant of this name can be made in the organization."""
    if name in RESERVED_NAMES:
        raise Conflict(f"{name!r} has a meaning in addresses of the API: choose another name.")
    holder = repository.holder_of_name(work.session, organization.id, name)
    if holder is None:
        return
    if holder.desired_state != "deleted" or holder.purge_after is None:
        raise Conflict(f"{organization.name} has a tenant called {name!r} already: choose another name.")
    raise Conflict(
        f"{name!r} belongs to a deleted tenant that can be restored until {holder.purge_after:%Y-%m-%d %H:%M} UTC: "
        "choose another name or restore it."
    )
