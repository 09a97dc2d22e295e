"""Compiled policies of tenants, kept until something changes in them."""

import threading
import uuid
from collections import OrderedDict

from sqlalchemy import select
from sqlalchemy.orm import Session

from nagaya.access.compiler import Issuer, compile_policies
from nagaya.http.state import AppState
from nagaya.tenants.models import Tenant
from nagaya_policy import Policy

KEPT = 256
"""Tenants whose policy is in memory."""


class Policies:
    """The policies that the HTTP endpoints decide by. Safe in any thread.

    Every change of who may do what raises the tenant's `policy_version` in the transaction of the change, so that a
    policy of the present version is never out of date: nothing here waits for a message. Whatever ends by time alone is
    in the policy with its time.

    Args:
        issuer: Who signs tokens; part of every document.
        kept: How many policies are kept; the one that was not asked for longest is dropped.
    """

    def __init__(self, issuer: Issuer, kept: int = KEPT) -> None:
        self._issuer = issuer
        self._kept = kept
        self._lock = threading.Lock()
        self._policies: OrderedDict[uuid.UUID, Policy] = OrderedDict()

    def of(self, session: Session, tenant_id: uuid.UUID, state: AppState) -> Policy:
        """Returns the policy of a tenant as it is now.

        Args:
            session: Database session that has not read anything that may be older.
            tenant_id: The tenant; it exists.
            state: The application's state, for the clock.
        """
        version = session.scalar(select(Tenant.policy_version).where(Tenant.id == tenant_id))
        with self._lock:
            known = self._policies.get(tenant_id)
            if known is not None and known.version == version:
                self._policies.move_to_end(tenant_id)
                return known
        document = compile_policies(session, [tenant_id], self._issuer, state.now())[tenant_id]
        policy = Policy.from_document(document)
        with self._lock:
            self._policies[tenant_id] = policy
            self._policies.move_to_end(tenant_id)
            while len(self._policies) > self._kept:
                self._policies.popitem(last=False)
        return policy
