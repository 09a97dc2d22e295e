"""The policy that this tenant process enforces at the moment, and how old it may be."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from nagaya_policy.catalogue import READ
from nagaya_policy.document import apply_delta
from nagaya_policy.engine import Policy
from nagaya_policy.resources import Resource
from nagaya_tenant.errors import CredentialsRefused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from nagaya_policy.decisions import AllowedIds, Decision

log = logging.getLogger(__name__)


class PolicyState:
    """Holds the current policy and replaces it as a whole, so that a request never sees half of a change.

    Readers take the policy once per decision; assignments of a reference are atomic, and a policy is immutable.

    Args:
        tenant_id: The tenant that every document must be for.
        max_age: Seconds for which the policy serves after the last sign of life of the channel.
        clock: Wall clock in seconds; issue times of tokens are compared with it.
    """

    def __init__(self, tenant_id: str, max_age: float, clock: Callable[[], float] = time.time) -> None:
        self._tenant_id = tenant_id
        self._max_age = max_age
        self._clock = clock
        self._lock = threading.Lock()
        self._policy: Policy | None = None
        self._document: dict[str, Any] = {}
        self.last_sign_of_life = 0.0

    @property
    def version(self) -> int:
        """Version of the policy in force; -1 without one, so that the first of any number is newer."""
        return -1 if self._policy is None else self._policy.version

    @property
    def limits(self) -> Mapping[str, Any]:
        """Limits per feature, if the document has any."""
        limits = self._document.get("limits")
        return limits if isinstance(limits, dict) else {}

    def now(self) -> float:
        """Seconds since the epoch, by the clock that decisions use."""
        return self._clock()

    def alive(self, when: float | None = None) -> None:
        """Notes a sign of life of the channel, now or at a time in seconds since the epoch."""
        self.last_sign_of_life = max(self.last_sign_of_life, self._clock() if when is None else when)

    def apply_snapshot(self, document: dict[str, Any]) -> bool:
        """Puts a whole policy document in force if it is newer than the present one.

        Returns:
            Whether it was newer.

        Raises:
            ValueError: The document is for another tenant, or cannot be used (`nagaya_policy.errors.PolicyError`).
        """
        policy = Policy.from_document(document)
        if policy.tenant != self._tenant_id:
            raise ValueError("The policy document is for another tenant and was not applied.")
        with self._lock:
            if policy.version <= self.version:
                return False
            self._policy, self._document = policy, document
        return True

    def apply_delta(self, delta: dict[str, Any]) -> bool:
        """Puts a change of the present policy in force.

        Returns:
            Whether it applied; false for one that is already contained.

        Raises:
            ValueError: It starts at another version than the present one, or has the wrong form: ask for the whole
                policy.
        """
        with self._lock:
            version = delta.get("version")
            if isinstance(version, int) and version <= self.version:
                return False
            document = apply_delta(self._document, delta)
            self._policy, self._document = Policy.from_document(document), document
        return True

    def current(self) -> Policy:
        """The policy in force.

        Raises:
            Unavailable: There is none, or the channel has been silent for longer than the policy may serve.
        """
        if self._policy is None:
            raise Unavailable("This tenant has not received its access policy yet; try again shortly.")
        if self._clock() - self.last_sign_of_life > self._max_age:
            raise Unavailable(
                "This tenant has lost contact with its control plane for longer than its access policy may serve; "
                "it answers again when the control plane is back.",
                retry_after=30,
            )
        return self._policy

    def check(
        self,
        principal: str,
        action: str,
        resource: str,
        *,
        owner: str | None = None,
        system_owned: bool = False,
    ) -> Decision:
        """Decides one permission.

        Args:
            principal: The platform's id of who wants to act.
            action: ZenML's name of the action.
            resource: As ZenML writes it: `[<project id>:]<type>[/<id>]`.
            owner: The platform's id of whoever made the resource, if known.
            system_owned: Whether the resource belongs to the platform.
        """
        return self.current().check(
            principal, action, resource, owner=owner, system_owned=system_owned, now=self._clock()
        )

    def allowed_ids(self, principal: str, action: str, resource: str, system_ids: Collection[str] = ()) -> AllowedIds:
        """Whether the principal may act on all resources of a type, and if not, on which ids.

        Args:
            principal: The platform's id of who wants to act.
            action: ZenML's name of the action.
            resource: A type, with its project if it has one.
            system_ids: Ids of those that belong to the platform.
        """
        return self.current().allowed_ids(principal, action, resource, system_ids=system_ids, now=self._clock())

    def reads_all(self, principal: str, types: Iterable[str]) -> bool:
        """Whether the principal may read all resources of all these types in every project, by one and the same policy.

        Args:
            principal: The platform's id of who wants to read.
            types: ZenML's names of the types.
        """
        policy, now = self.current(), self._clock()
        # Without a project the question is about all projects, so a role in some projects does not answer it.
        return all(policy.allowed_ids(principal, READ, Resource(each), now=now).full_access for each in types)

    def is_member(self, principal: str) -> bool:
        """Whether somebody is a member now.

        Raises:
            Unavailable: See `current`.
        """
        return self.current().is_member(principal, self._clock())

    def require_token(self, principal: str, issued_at: float, session: str | None) -> None:
        """Checks that a token of a principal is still good.

        Raises:
            CredentialsRefused: Not a member, issued before the principal's tokens were revoked, or session ended.
            Unavailable: See `current`.
        """
        decision = self.current().token_allowed(principal, issued_at, session, now=self._clock())
        if not decision.allowed:
            raise CredentialsRefused(f"Authentication error: {decision.reason}")
