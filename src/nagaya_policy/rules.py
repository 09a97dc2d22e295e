"""The rules by which a question is decided, in order: the first one with an opinion decides.

Each rule is a function of one `Question`. `engine.Policy.check` stops at the first opinion, `Policy.explain` asks all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from nagaya_policy.catalogue import BACKUP_RESTORE, PRUNE, READ, is_tenant_permission
from nagaya_policy.decisions import Decision
from nagaya_policy.principals import Grant, Principal
from nagaya_policy.resources import Resource
from nagaya_policy.roles import MEMBER_PERMISSIONS

COLLECTIVE_ACTIONS: Final = frozenset({PRUNE, BACKUP_RESTORE})
"""Actions on many resources at once, also those of others: never a matter of ownership."""

NOT_A_MEMBER: Final = Decision(False, "denied: not a member")
ENDED: Final = Decision(False, "denied: not a member any more (your roles have expired)")
_PLATFORM_READ: Final = Decision(True, "allowed: provided by the platform, every member may read it")
_PLATFORM_DENY: Final = Decision(False, "denied: provided by the platform, only the platform itself changes it")
_OWNER: Final = Decision(True, "allowed: owner")
_EVERY_MEMBER: Final = Decision(True, "allowed: every member")
_PROJECT_MEMBER: Final = Decision(True, "allowed: member of the project")
_HOLDS_SHARED: Final = Decision(True, "allowed: something in this project is shared with you")


class Question:
    """May this be done to that, now? Who asks is given to each rule."""

    __slots__ = ("action", "now", "owner", "permission", "resource", "system_owned")

    def __init__(
        self, action: str, resource: Resource, *, owner: str | None = None, system_owned: bool = False, now: float
    ) -> None:
        self.action = action
        self.resource = resource
        self.permission = f"{resource.type}:{action}"
        self.owner = owner
        self.system_owned = system_owned
        self.now = now


Rule = Callable[[Question, Principal], Decision | None]


def membership(question: Question, principal: Principal) -> Decision | None:
    """Members only: nothing else, not even ownership, helps somebody whose membership has ended."""
    return None if principal.is_active(question.now) else ENDED


def platform_resource(question: Question, _principal: Principal) -> Decision | None:
    """Members read what the platform provides, nobody changes it, administrators included."""
    if not question.system_owned:
        return None
    return _PLATFORM_READ if question.action == READ else _PLATFORM_DENY


def ownership(question: Question, principal: Principal) -> Decision | None:
    """Makers may do everything with what they made, secret values included; ZenML's server lets them pass as well."""
    owned = question.owner is not None and question.owner == principal.id and question.resource.id is not None
    return _OWNER if owned and question.action not in COLLECTIVE_ACTIONS else None


def every_member(question: Question, _principal: Principal) -> Decision | None:
    """Flavors and tags are read by every member."""
    return _EVERY_MEMBER if question.permission in MEMBER_PERMISSIONS else None


def grant_covers(grant: Grant, resource: Resource) -> bool:
    """Whether a grant is about a resource at all: tenant roles are about everything, project roles about the project
    itself and what is in it, and about what a run needs of the tenant (`roles.PROJECT_ROLE_EXTRAS`)."""
    if grant.project is None or resource.container == grant.project:
        return True
    return resource.type == "tag" and resource.project is None


def grant_permits(grant: Grant, question: Question) -> bool:
    """Whether an active grant permits what is asked."""
    role, resource = grant.role, question.resource
    if question.permission in role.permissions:
        return grant_covers(grant, resource) and grant.active(question.now)
    # Administrators may also do what this version has never heard of, within the tenant or project they administer.
    if not role.full or is_tenant_permission(question.permission):
        return False
    return (grant.project is None or resource.container == grant.project) and grant.active(question.now)


def roles(question: Question, principal: Principal) -> Decision | None:
    """The union of all roles held: the first that permits is named."""
    for grant in principal.grants:
        if grant_permits(grant, question):
            return Decision(True, f"allowed: {grant.title}")
    return None


def project_membership(question: Question, principal: Principal) -> Decision | None:
    """Whoever holds a role in a project, or something shared in it, sees that the project exists."""
    if question.permission != "project:read" or question.resource.id is None:
        return None
    project = question.resource.id
    if any(each.project == project and each.active(question.now) for each in principal.grants):
        return _PROJECT_MEMBER
    return _HOLDS_SHARED if project in principal.shared_projects else None


def share(question: Question, principal: Principal) -> Decision | None:
    """What was shared, exactly: an action on a resource implies no other action."""
    if not principal.shares:
        return None
    actions = principal.shares.get(question.resource)
    if actions is None or question.action not in actions:
        return None
    return Decision(True, f"allowed: shared with you ({question.action})")


RULES: Final[tuple[tuple[str, Rule], ...]] = (
    ("membership", membership),
    ("platform resource", platform_resource),
    ("ownership", ownership),
    ("every member", every_member),
    ("role", roles),
    ("share", share),
    ("project membership", project_membership),
)


def default_denial(question: Question, principal: Principal) -> Decision:
    """The denial when no rule has an opinion: names the missing permission and the roles that were considered."""
    labels = dict.fromkeys(
        each.role.label
        for each in principal.grants
        if each.active(question.now) and grant_covers(each, question.resource)
    )
    held = f"your roles: {', '.join(labels)}" if labels else "you have no role here"
    return Decision(False, f"denied: no role of yours grants {question.permission} ({held})")
