"""Property tests: on random documents the engine agrees with a slow reference implementation, and never crashes.

The reference works on the raw document with strings only and shares nothing with the engine but the permission sets
of the predefined roles, which `test_matrix` pins.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nagaya_policy import ACTIONS, PREDEFINED_ROLES, RESOURCE_TYPES, Policy, is_project_scoped, parse_resource

Document = dict[str, Any]


def split(resource: str) -> tuple[str | None, str, str | None]:
    """(project, type, id) of a resource string."""
    project, colon, rest = resource.rpartition(":")
    type_name, slash, resource_id = rest.partition("/")
    return (project if colon else None), type_name, (resource_id if slash else None)


def active_grants(document: Document, who: str, now: float) -> list[dict[str, Any]]:
    return [
        grant
        for grant in document["principals"][who].get("grants", [])
        if grant.get("expires") is None or grant["expires"] > now
    ]


def reference_member(document: Document, who: str, now: float) -> bool:
    if who not in document["principals"]:
        return False
    entry = document["principals"][who]
    if not entry.get("grants"):
        return True
    if any(actions for actions in entry.get("shares", {}).values()):
        return True
    return active_grants(document, who, now) != []


def catalogued(type_name: str, action: str) -> bool:
    return type_name in RESOURCE_TYPES and action in RESOURCE_TYPES[type_name].actions


def role_allows(document: Document, grant: dict[str, Any], action: str, resource: str) -> bool:
    project, type_name, resource_id = split(resource)
    permission = f"{type_name}:{action}"
    own_project = grant.get("project")
    inside = own_project is not None and (project == own_project or resource == f"project/{own_project}")
    if grant["role"] in ("tenant_admin", "project_admin") and not catalogued(type_name, action):
        return own_project is None or inside
    if grant["role"] in PREDEFINED_ROLES:
        permissions = set(PREDEFINED_ROLES[grant["role"]].permissions)
    elif grant["role"] in document["roles"]:
        permissions = {
            each
            for each in document["roles"][grant["role"]]["permissions"]
            if catalogued(each.partition(":")[0], each.partition(":")[2])
        }
    else:
        permissions = set()
    if permission not in permissions:
        return False
    if own_project is None:
        return True
    if permission == "tag:create":
        return True
    if type_name == "project":
        return action != "create" and resource_id == own_project
    return RESOURCE_TYPES[type_name].project_scoped and project == own_project


def reference_allowed(
    document: Document,
    who: str,
    action: str,
    resource: str,
    *,
    owner: str | None,
    system_owned: bool,
    now: float,
) -> bool:
    if not reference_member(document, who, now):
        return False
    if system_owned:
        return action == "read"
    _project, type_name, resource_id = split(resource)
    grants = active_grants(document, who, now)
    shares = document["principals"][who].get("shares", {})
    shared = [each for each, shared_actions in shares.items() if shared_actions]
    reading_one_project = action == "read" and type_name == "project" and resource_id is not None
    return (
        (owner == who and resource_id is not None and action not in ("prune", "backup_restore"))
        or (action == "read" and type_name in ("flavor", "tag"))
        or any(role_allows(document, grant, action, resource) for grant in grants)
        or action in shares.get(resource, [])
        or (reading_one_project and any(grant.get("project") == resource_id for grant in grants))
        or (reading_one_project and any(each == resource or each.startswith(f"{resource_id}:") for each in shared))
    )


PROJECTS = [f"aaaaaaaa-0000-4000-8000-00000000000{n}" for n in (1, 2)]
THINGS = [f"bbbbbbbb-0000-4000-8000-00000000000{n}" for n in (1, 2)]
WHO = ["ada", "bob"]
NOW = 1000

# Few ids and a bias to few types: random questions must often hit what random documents grant.
type_names = st.one_of(
    st.sampled_from(["stack", "project", "tag", "pipeline_run"]),
    st.sampled_from(sorted(RESOURCE_TYPES)),
    st.just("hologram"),
)
actions = st.one_of(st.sampled_from(["read", "update", "delete"]), st.sampled_from(sorted(ACTIONS)), st.just("polish"))
expiries = st.one_of(st.none(), st.sampled_from([NOW - 1, NOW, NOW + 1]))


@st.composite
def resources(draw: st.DrawFn, *, single: bool | None = None) -> str:
    type_name = draw(type_names)
    scoped = is_project_scoped(type_name)
    with_project = draw(st.booleans()) if scoped is None else scoped
    with_id = draw(st.booleans()) if single is None else single
    ids = st.sampled_from(PROJECTS if type_name == "project" else THINGS)
    text = f"{type_name}/{draw(ids)}" if with_id else type_name
    return f"{draw(st.sampled_from(PROJECTS))}:{text}" if with_project else text


@st.composite
def grants(draw: st.DrawFn) -> dict[str, Any]:
    level = draw(st.sampled_from(["tenant", "project"]))
    names = [name for name, role in PREDEFINED_ROLES.items() if role.level == level]
    return {
        "role": draw(st.sampled_from([*names, f"custom_{level}", "role_of_the_future"])),
        "via": draw(st.sampled_from(["direct", "team vision"])),
        "project": draw(st.sampled_from(PROJECTS)) if level == "project" else None,
        "expires": draw(expiries),
    }


permissions = st.builds(lambda type_name, action: f"{type_name}:{action}", type_names, actions)
principals = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["user", "service_account"]),
        "username": st.just("somebody"),
        "grants": st.lists(grants(), max_size=3),
        "shares": st.dictionaries(resources(single=True), st.lists(actions, max_size=3), max_size=3),
    }
)
documents = st.fixed_dictionaries(
    {
        "schema": st.just(1),
        "tenant": st.just(THINGS[0]),
        "version": st.integers(1, 9),
        "principals": st.dictionaries(st.sampled_from(WHO), principals, min_size=1),
        "roles": st.fixed_dictionaries(
            {
                f"custom_{level}": st.fixed_dictionaries(
                    {"level": st.just(level), "permissions": st.lists(permissions, max_size=8)}
                )
                for level in ("tenant", "project")
            }
        ),
    }
)
callers = st.sampled_from(WHO)
circumstances = st.fixed_dictionaries(
    {"owner": st.sampled_from([None, *WHO]), "system_owned": st.booleans(), "now": st.just(NOW)}
)


@settings(max_examples=100, deadline=None)
@given(documents, callers, actions, resources(), circumstances)
def test_check_agrees_with_the_reference(
    document: dict[str, Any], who: str, action: str, resource: str, question: dict[str, Any]
) -> None:
    policy = Policy.from_document(document)
    decision = policy.check(who, action, resource, **question)
    assert decision.allowed == reference_allowed(document, who, action, resource, **question), decision
    assert decision.reason.startswith("allowed: " if decision.allowed else "denied: ")
    assert policy.check(who, action, parse_resource(resource), **question) == decision


@settings(max_examples=60, deadline=None)
@given(documents, callers, actions, resources(), circumstances)
def test_an_explanation_ends_like_the_check(
    document: dict[str, Any], who: str, action: str, resource: str, question: dict[str, Any]
) -> None:
    policy = Policy.from_document(document)
    explanation = policy.explain(who, action, resource, **question)
    decision = policy.check(who, action, resource, **question)
    assert explanation.decision == decision
    (deciding,) = [each for each in explanation.rules if each.deciding]
    assert (deciding.outcome == "allows") == decision.allowed
    assert deciding.detail == decision.reason


@settings(max_examples=100, deadline=None)
@given(documents, callers, actions, resources(single=False))
def test_lists_agree_with_single_checks(document: dict[str, Any], who: str, action: str, kind: str) -> None:
    policy = Policy.from_document(document)
    listed = policy.allowed_ids(who, action, kind, now=NOW)
    ids = PROJECTS if kind == "project" else THINGS
    single = {
        each: reference_allowed(document, who, action, f"{kind}/{each}", owner=None, system_owned=False, now=NOW)
        for each in ids
    }
    everything = reference_allowed(document, who, action, kind, owner=None, system_owned=False, now=NOW)
    assert listed.full_access == everything
    if not everything:
        assert listed.ids == tuple(each for each in ids if single[each])
        assert listed.reason.startswith("allowed: " if listed.ids else "denied: ")


@settings(max_examples=60, deadline=None)
@given(documents, callers)
def test_effective_permissions_agree_with_checks(document: dict[str, Any], who: str) -> None:
    policy = Policy.from_document(document)
    effective = policy.effective(who, NOW)
    assert bool(effective) == policy.is_member(who, NOW) == reference_member(document, who, NOW)
    for permission, scope, _reason in effective:
        type_name, _, action = permission.partition(":")
        if scope == "tenant":
            project = f"{PROJECTS[0]}:" if is_project_scoped(type_name) else ""
            resource = f"{project}{type_name}/{PROJECTS[0]}"
        elif scope.startswith("project ") and type_name == "project":
            resource = f"project/{scope.removeprefix('project ')}"
        elif scope.startswith("project "):
            resource = f"{scope.removeprefix('project ')}:{type_name}/{THINGS[0]}"
        else:
            resource = scope
        assert policy.check(who, action, resource, now=NOW).allowed, (permission, scope)


@given(st.text(), st.text(), st.text())
def test_no_question_crashes(who: str, action: str, resource: str) -> None:
    policy = Policy.from_document(
        {
            "schema": 1,
            "tenant": "t",
            "version": 1,
            "principals": {"ada": {"username": "ada", "grants": [{"role": "tenant_viewer"}]}},
        }
    )
    for asker in (who, "ada"):
        assert not policy.check(asker, "delete" if action == "read" else action, resource, now=NOW).allowed
        policy.allowed_ids(asker, action, resource, now=NOW)
        assert policy.explain(asker, action, resource, now=NOW).rules
