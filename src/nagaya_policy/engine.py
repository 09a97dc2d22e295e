"""The policy of one tenant: compiled once from its document, then asked for decisions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from nagaya_policy.catalogue import READ
from nagaya_policy.decisions import AllowedIds, ConsideredRule, Decision, EffectivePermission, Explanation
from nagaya_policy.document import Document, Parts, read_document
from nagaya_policy.errors import ResourceError
from nagaya_policy.explanations import considered_rules, effective_permissions
from nagaya_policy.principals import Principal
from nagaya_policy.resources import Resource, parse_resource
from nagaya_policy.roles import Role
from nagaya_policy.rules import (
    ENDED,
    NOT_A_MEMBER,
    RULES,
    Question,
    default_denial,
    every_member,
    project_membership,
    roles,
)


class Policy:
    """An immutable policy. All times are seconds since the epoch; all methods are pure and safe in any thread."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @classmethod
    def from_document(cls, document: Document) -> Policy:
        """Compile a policy document.

        Raises:
            PolicySchemaError: The document is of another schema.
            PolicyError: The document has the wrong form; the message says where.
        """
        return cls(read_document(document))

    @property
    def version(self) -> int:
        """The document's version; it only grows."""
        return self._parts.version

    @property
    def tenant(self) -> str:
        """Id of the tenant that this policy is for."""
        return self._parts.tenant

    @property
    def organization(self) -> str | None:
        """Id of the organization that the tenant belongs to."""
        return self._parts.organization

    @property
    def issuer(self) -> str | None:
        """Who signs the tokens that the tenant accepts: the platform's public URL."""
        return self._parts.issuer

    @property
    def issued_at(self) -> float:
        """When the document was compiled."""
        return self._parts.issued_at

    @property
    def jwks(self) -> Mapping[str, Any]:
        """The public keys of the issuer, as a JSON Web Key Set (RFC 7517)."""
        return self._parts.jwks

    @property
    def custom_roles(self) -> Mapping[str, Role]:
        """The custom roles of the document, by name."""
        return self._parts.roles

    @property
    def principals(self) -> Mapping[str, Principal]:
        """All principals of the document, by id."""
        return self._parts.principals

    def principal(self, principal_id: str) -> Principal | None:
        """The principal of an id, or `None` for somebody who is not in the document."""
        return self._parts.principals.get(principal_id)

    def is_member(self, principal_id: str, now: float) -> bool:
        """Whether somebody is a member now: in the document, and not with all roles expired and nothing shared."""
        principal = self._parts.principals.get(principal_id)
        return principal is not None and principal.is_active(now)

    def check(
        self,
        principal_id: str,
        action: str,
        resource: str | Resource,
        *,
        owner: str | None = None,
        system_owned: bool = False,
        now: float,
    ) -> Decision:
        """Decide whether a principal may do something.

        Args:
            principal_id: Who.
            action: One of `catalogue.ACTIONS`; others are for administrators only.
            resource: What, as ZenML writes it or parsed. A text that is not a resource is denied, not an error.
            owner: The platform's id of whoever made the resource, if the caller knows it.
            system_owned: Whether the resource belongs to the platform's system user.
            now: Seconds since the epoch.
        """
        principal = self._parts.principals.get(principal_id)
        if principal is None:
            return NOT_A_MEMBER
        if isinstance(resource, str):
            try:
                resource = parse_resource(resource)
            except ResourceError as error:
                return Decision(False, f"denied: {error}")
        if resource.server is not None:
            resource = replace(resource, server=None)
        question = Question(action, resource, owner=owner, system_owned=system_owned, now=now)
        for _name, rule in RULES:
            decision = rule(question, principal)
            if decision is not None:
                return decision
        return default_denial(question, principal)

    def allowed_ids(
        self,
        principal_id: str,
        action: str,
        resource: str | Resource,
        *,
        system_ids: Collection[str] = (),
        now: float,
    ) -> AllowedIds:
        """Which resources of a type a principal may act upon, for filtering lists.

        Resources that the principal made are not among them: ZenML's server adds those itself. Resources of the
        platform are only known to the caller.

        Args:
            principal_id: Who.
            action: As for `check`.
            resource: A type, with its project if it is project scoped, without an id.
            system_ids: Ids of the platform's own resources of this type; added when the action is `read`.
            now: Seconds since the epoch.
        """
        principal = self._parts.principals.get(principal_id)
        if principal is None or not principal.is_active(now):
            return AllowedIds(False, (), (NOT_A_MEMBER if principal is None else ENDED).reason)
        try:
            kind = parse_resource(resource) if isinstance(resource, str) else resource
        except ResourceError as error:
            return AllowedIds(False, (), f"denied: {error}")
        if kind.id is not None:
            return AllowedIds(False, (), f"denied: {kind} is a single resource, a list needs its type only")
        question = Question(action, replace(kind, server=None), now=now)
        decision = every_member(question, principal) or roles(question, principal)
        if decision is not None:
            return AllowedIds(True, (), decision.reason)
        ids = _single_ids(question, principal)
        if action == READ:
            ids.update(system_ids)
        if not ids:
            return AllowedIds(False, (), default_denial(question, principal).reason)
        return AllowedIds(False, tuple(sorted(ids)), f"allowed: {len(ids)} by share, project role or the platform")

    def administers(self, principal_id: str, now: float, *, project: str | None = None) -> Decision:
        """Decide whether a principal may change settings and members of the tenant, or of one project.

        ZenML has no permissions for these, they are the platform's own: full administrators hold them.

        Args:
            principal_id: Who.
            now: Seconds since the epoch.
            project: Id of the project; without one the tenant is meant.
        """
        principal = self._parts.principals.get(principal_id)
        if principal is None:
            return NOT_A_MEMBER
        if not principal.is_active(now):
            return ENDED
        for grant in principal.grants:
            if grant.role.full and grant.project in {None, project} and grant.active(now):
                return Decision(True, f"allowed: {grant.title}")
        place = "the tenant" if project is None else "this project"
        return Decision(False, f"denied: no role of yours administers {place}")

    def token_allowed(self, principal_id: str, issued_at: float, session_id: str | None, now: float) -> Decision:
        """Decide whether a token that is otherwise valid may still be used.

        Args:
            principal_id: The token's subject.
            issued_at: When it was issued, in seconds since the epoch.
            session_id: The session it belongs to, if any.
            now: Seconds since the epoch.
        """
        principal = self._parts.principals.get(principal_id)
        if principal is None:
            return NOT_A_MEMBER
        if not principal.is_active(now):
            return ENDED
        if issued_at < principal.valid_after:
            return Decision(False, "denied: the token was issued before all tokens of this account were revoked")
        if session_id is not None and session_id in self._parts.revoked_sessions:
            return Decision(False, "denied: the session was signed out")
        return Decision(True, "allowed: member")

    @staticmethod
    def expired(last_sign_of_life: float, now: float, max_age: float) -> bool:
        """Whether the policy is too old to be used.

        Args:
            last_sign_of_life: When the platform was last heard, in seconds since the epoch.
            now: Seconds since the epoch.
            max_age: How long a policy serves while the platform is silent, in seconds.
        """
        return now - last_sign_of_life > max_age

    def effective(self, principal_id: str, now: float) -> list[EffectivePermission]:
        """Everything that a principal may do beside owning things, with the reasons; sorted. See `explanations`."""
        principal = self._parts.principals.get(principal_id)
        if principal is None or not principal.is_active(now):
            return []
        return effective_permissions(principal, now)

    def explain(
        self,
        principal_id: str,
        action: str,
        resource: str | Resource,
        *,
        owner: str | None = None,
        system_owned: bool = False,
        now: float,
    ) -> Explanation:
        """Decide as `check` does, and tell what every rule made of the question. Arguments as for `check`."""
        decision = self.check(principal_id, action, resource, owner=owner, system_owned=system_owned, now=now)
        principal = self._parts.principals.get(principal_id)
        if principal is None:
            return Explanation(decision, (ConsideredRule("membership", "denies", decision.reason, True),))
        try:
            parsed = parse_resource(resource) if isinstance(resource, str) else resource
        except ResourceError:
            return Explanation(decision, (ConsideredRule("resource", "denies", decision.reason, True),))
        question = Question(action, replace(parsed, server=None), owner=owner, system_owned=system_owned, now=now)
        return Explanation(decision, considered_rules(question, principal))


def _single_ids(question: Question, principal: Principal) -> set[str]:
    """Ids of single resources of the asked type that a principal may act upon by shares or roles in projects."""
    wanted = question.resource
    ids = {
        each.id
        for each, actions in principal.shares.items()
        if each.type == wanted.type and each.project == wanted.project and question.action in actions and each.id
    }
    if wanted.type != "project":
        return ids
    if question.action == READ:
        ids |= principal.shared_projects
    for project in {each.project for each in principal.grants if each.project is not None}:
        single = Question(question.action, Resource("project", project), now=question.now)
        if roles(single, principal) or project_membership(single, principal):
            ids.add(project)
    return ids
