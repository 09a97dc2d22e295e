"""Why somebody may do what: all rules of one question, and all permissions of one principal."""

from __future__ import annotations

from nagaya_policy.decisions import ConsideredRule, Decision, EffectivePermission
from nagaya_policy.principals import Grant, Principal
from nagaya_policy.resources import format_resource
from nagaya_policy.roles import MEMBER_PERMISSIONS
from nagaya_policy.rules import RULES, Question, default_denial, grant_covers, grant_permits

_SILENT = {
    "membership": "is a member",
    "platform resource": "not provided by the platform",
    "ownership": "made by somebody else, or not a single resource that can be owned",
    "every member": "not among the permissions of every member",
    "role": "holds no role",
    "share": "not shared with this member",
    "project membership": "not about seeing a project in which this member has a role or a share",
}


def considered_rules(question: Question, principal: Principal) -> tuple[ConsideredRule, ...]:
    """What every rule makes of a question, in order; the first opinion is marked as deciding.

    Each role that the principal holds has its own line. The last line is the denial that stands if no rule speaks.
    """
    lines: list[ConsideredRule] = []
    decided = False

    def add(name: str, decision: Decision | None, silent: str) -> None:
        nonlocal decided
        if decision is None:
            lines.append(ConsideredRule(name, "does not apply", silent, False))
            return
        lines.append(ConsideredRule(name, "allows" if decision.allowed else "denies", decision.reason, not decided))
        decided = True

    for name, rule in RULES:
        if name == "role" and principal.grants:
            for grant in principal.grants:
                permits = grant_permits(grant, question)
                allowed = Decision(True, f"allowed: {grant.title}") if permits else None
                add(name, allowed, _why_not(grant, question))
        else:
            add(name, rule(question, principal), _SILENT[name])
    add("default", None if decided else default_denial(question, principal), "denies what no rule allows")
    return tuple(lines)


def effective_permissions(principal: Principal, now: float) -> list[EffectivePermission]:
    """All permissions of an active member, sorted by scope and permission; one line per way to a permission.

    Ownership and the reading of the platform's resources are not listed, since they hold for every member.
    """
    found = {EffectivePermission(each, "tenant", "every member") for each in MEMBER_PERMISSIONS}
    for grant in principal.grants:
        if grant.active(now):
            scope = "tenant" if grant.project is None else f"project {grant.project}"
            found.update(
                EffectivePermission(each, "tenant" if each == "tag:create" else scope, grant.title)
                for each in grant.role.permissions
            )
            if grant.project is not None:
                found.add(EffectivePermission("project:read", scope, grant.title))
    for resource, actions in principal.shares.items():
        name = format_resource(resource)
        found.update(EffectivePermission(f"{resource.type}:{each}", name, "shared with you") for each in actions)
    found.update(
        EffectivePermission("project:read", f"project {each}", "something in this project is shared with you")
        for each in principal.shared_projects
    )
    return sorted(found, key=lambda each: (each.scope != "tenant", each.scope, each.permission, each.reason))


def _why_not(grant: Grant, question: Question) -> str:
    if not grant.active(question.now):
        return f"{grant.title}: has expired"
    if not grant_covers(grant, question.resource):
        return f"{grant.title}: held in project {grant.project}, which this is not about"
    return f"{grant.title}: does not include {question.permission}"
