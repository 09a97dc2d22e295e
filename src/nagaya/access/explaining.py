"""Answers who may do what at a place, with the reasons: the very engine that decides in tenants is asked."""

import datetime as dt
import uuid
from dataclasses import dataclass

from sqlalchemy.orm import Session

from nagaya.access import repository
from nagaya.access.compiler import Issuer, compile_policies
from nagaya.access.schemas import EffectivePermissionRead, EffectiveRead, ExplanationRead, RuleRead
from nagaya.access.standing import Standing, standing_of
from nagaya.errors import NotFound
from nagaya.organizations.models import Organization
from nagaya.tenants.models import Tenant
from nagaya_policy import ORGANIZATION_PERMISSIONS, Policy, organization_permissions


@dataclass(frozen=True, slots=True)
class Subject:
    """Of whom, and of which place, a question is.

    Args:
        session: Database session.
        issuer: Who signs tokens; part of every policy.
        principal_id: Of whom.
        organization: Where.
        tenant: In which tenant, if the question is about one.
        now: Current time.
    """

    session: Session
    issuer: Issuer
    principal_id: uuid.UUID
    organization: Organization
    tenant: Tenant | None
    now: dt.datetime

    def policy(self, tenant: Tenant) -> Policy:
        """Returns the policy of the tenant as it is enforced there, as far as it is about the subject."""
        documents = compile_policies(self.session, [tenant.id], self.issuer, self.now, principal_id=self.principal_id)
        return Policy.from_document(documents[tenant.id])

    def standing(self) -> Standing:
        """Returns what the subject holds in the organization.

        Raises:
            NotFound: There is no such account.
        """
        principal = repository.principal(self.session, self.principal_id)
        if principal is None:
            raise NotFound("There is no user or service account of this id.")
        return standing_of(self.session, principal, self.organization.id, None, self.now)


def effective(subject: Subject, project: uuid.UUID | None) -> EffectiveRead:
    """Returns everything that a subject may do.

    Args:
        subject: Of whom and where.
        project: Leave out what is held in other projects only.
    """
    if subject.tenant is None:
        permissions = _organization_permissions(subject.standing())
    else:
        found = subject.policy(subject.tenant).effective(str(subject.principal_id), subject.now.timestamp())
        permissions = [
            EffectivePermissionRead(permission=each.permission, scope=each.scope, reason=each.reason)
            for each in found
            if project is None or not each.scope.startswith("project ") or each.scope == f"project {project}"
        ]
    return EffectiveRead(
        principal=subject.principal_id,
        organization=subject.organization.name,
        tenant=None if subject.tenant is None else subject.tenant.name,
        permissions=permissions,
    )


def _organization_permissions(standing: Standing) -> list[EffectivePermissionRead]:
    if standing.principal.superuser:
        found = dict.fromkeys(sorted(ORGANIZATION_PERMISSIONS), "superuser")
    else:
        found = dict(organization_permissions(standing.organization_grants, standing.now.timestamp()))
    return [
        EffectivePermissionRead(permission=permission, scope="organization", reason=reason)
        for permission, reason in found.items()
    ]


def explain(subject: Subject, action: str, resource: str, owner: uuid.UUID | None) -> ExplanationRead:
    """Decides on one act of a subject and says why.

    Args:
        subject: Of whom and where.
        action: E.g. `update`.
        resource: A resource as ZenML writes it; in an organization a noun such as `member`.
        owner: Who made the resource, if it matters.
    """
    if subject.tenant is None:
        decision = subject.standing().check(f"{resource}:{action}")
        outcome = "allows" if decision.allowed else "denies"
        rule = RuleRead(rule="organization role", outcome=outcome, detail=decision.reason, deciding=True)
        return ExplanationRead(allowed=decision.allowed, reason=decision.reason, rules=[rule])
    answer = subject.policy(subject.tenant).explain(
        str(subject.principal_id),
        action,
        resource,
        owner=None if owner is None else str(owner),
        now=subject.now.timestamp(),
    )
    rules = [
        RuleRead(rule=each.rule, outcome=each.outcome, detail=each.detail, deciding=each.deciding)
        for each in answer.rules
    ]
    return ExplanationRead(allowed=answer.decision.allowed, reason=answer.decision.reason, rules=rules)
