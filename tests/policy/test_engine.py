"""Decisions by example: each rule, its reason, and who wins over whom."""

from __future__ import annotations

from typing import Any

import pytest

from nagaya_policy import Decision, Policy, Resource

PROJECT = "aaaaaaaa-0000-4000-8000-000000000001"
OTHER = "aaaaaaaa-0000-4000-8000-000000000002"
THING = "bbbbbbbb-0000-4000-8000-000000000001"
HOSTED = "bbbbbbbb-0000-4000-8000-000000000002"
NOW = 1_790_000_000


def grant(role: str, **more: Any) -> dict[str, Any]:
    return {"role": role, **more}


def policy(*grants: dict[str, Any], shares: dict[str, list[str]] | None = None, **more: Any) -> Policy:
    """A policy whose only member is ada."""
    ada = {"username": "ada", "grants": list(grants), "shares": shares or {}, **more}
    return Policy.from_document(
        {
            "schema": 1,
            "tenant": "t",
            "version": 1,
            "principals": {"ada": ada},
            "revoked_sessions": {"signed-out": NOW},
        }
    )


def test_a_role_is_named_with_the_way_it_came() -> None:
    developer = policy(grant("tenant_developer", via="team vision"))
    assert developer.check("ada", "update", f"stack/{THING}", now=NOW) == (
        True,
        "allowed: role Developer via team vision",
    )
    assert developer.allowed_ids("ada", "read", f"{PROJECT}:pipeline", now=NOW) == (
        True,
        (),
        "allowed: role Developer via team vision",
    )


def test_a_denial_names_what_is_missing_and_the_roles() -> None:
    viewer = policy(grant("tenant_viewer"), grant("project_viewer", project=OTHER))
    assert viewer.check("ada", "delete", f"stack/{THING}", now=NOW) == (
        False,
        "denied: no role of yours grants stack:delete (your roles: Viewer)",
    )
    nobody = policy()
    assert nobody.check("ada", "delete", f"stack/{THING}", now=NOW).reason.endswith("(you have no role here)")


def test_strangers_are_not_members() -> None:
    asked = policy(grant("tenant_admin"))
    not_a_member = Decision(False, "denied: not a member")
    assert asked.check("eve", "read", "stack", now=NOW) == not_a_member
    assert asked.check("eve", "delete", f"stack/{THING}", owner="eve", now=NOW) == not_a_member
    assert asked.check("eve", "read", f"stack/{HOSTED}", system_owned=True, now=NOW) == not_a_member
    assert asked.allowed_ids("eve", "read", "stack", system_ids=[HOSTED], now=NOW) == (
        False,
        (),
        "denied: not a member",
    )
    assert asked.token_allowed("eve", NOW, None, NOW) == not_a_member
    assert asked.administers("eve", NOW) == not_a_member
    assert asked.effective("eve", NOW) == []
    assert not asked.is_member("eve", NOW)
    explanation = asked.explain("eve", "read", "stack", now=NOW)
    assert [(each.rule, each.outcome, each.deciding) for each in explanation.rules] == [("membership", "denies", True)]


def test_a_grant_ends_at_the_second_of_its_expiry_and_ownership_with_it() -> None:
    guest = policy(grant("tenant_developer", expires=NOW))
    assert guest.check("ada", "delete", f"stack/{THING}", owner="ada", now=NOW - 1).reason == "allowed: owner"
    ended = "denied: not a member any more (your roles have expired)"
    assert guest.check("ada", "delete", f"stack/{THING}", owner="ada", now=NOW) == (False, ended)
    assert guest.allowed_ids("ada", "read", "stack", now=NOW) == (False, (), ended)
    assert guest.token_allowed("ada", NOW - 10, None, NOW) == (False, ended)
    assert not guest.is_member("ada", NOW)
    assert guest.effective("ada", NOW) == []


def test_one_lasting_role_or_a_share_keeps_a_member() -> None:
    assert policy(grant("tenant_developer", expires=NOW), grant("tenant_visitor")).is_member("ada", NOW)
    shared = policy(grant("tenant_developer", expires=NOW), shares={f"stack/{THING}": ["read"]})
    assert shared.is_member("ada", NOW)
    assert shared.check("ada", "read", f"stack/{THING}", now=NOW).reason == "allowed: shared with you (read)"
    assert not shared.check("ada", "create", "stack", now=NOW).allowed


@pytest.mark.parametrize("role", ["tenant_admin", "tenant_visitor"])
def test_what_the_platform_provides_is_read_by_all_and_changed_by_nobody(role: str) -> None:
    asked = policy(grant(role), shares={f"stack/{HOSTED}": ["delete"]})
    stack = f"stack/{HOSTED}"
    assert asked.check("ada", "read", stack, system_owned=True, now=NOW) == (
        True,
        "allowed: provided by the platform, every member may read it",
    )
    for action in ("create", "update", "delete", "share", "client", "read_secret_value", "prune"):
        decision = asked.check("ada", action, stack, owner="ada", system_owned=True, now=NOW)
        assert decision == (False, "denied: provided by the platform, only the platform itself changes it")


def test_the_platforms_own_rows_are_in_lists_for_reading_only() -> None:
    visitor = policy(grant("tenant_visitor"))
    assert visitor.allowed_ids("ada", "read", "stack", system_ids=[HOSTED], now=NOW).ids == (HOSTED,)
    assert visitor.allowed_ids("ada", "update", "stack", system_ids=[HOSTED], now=NOW).ids == ()


@pytest.mark.parametrize(
    "action", ["create", "read", "update", "delete", "share", "read_secret_value", "client", "promote"]
)
def test_makers_may_do_everything_with_what_they_made(action: str) -> None:
    visitor = policy(grant("tenant_visitor"))
    assert visitor.check("ada", action, f"secret/{THING}", owner="ada", now=NOW) == (True, "allowed: owner")
    assert not visitor.check("ada", action, f"secret/{THING}", owner="bob", now=NOW).allowed
    assert not visitor.check("ada", action, "secret", owner="ada", now=NOW).allowed


@pytest.mark.parametrize("action", ["prune", "backup_restore"])
def test_actions_on_many_resources_are_never_a_matter_of_ownership(action: str) -> None:
    assert not policy(grant("tenant_developer")).check("ada", action, f"secret/{THING}", owner="ada", now=NOW).allowed


def test_a_share_is_exact_and_shows_its_project() -> None:
    asked = policy(shares={f"{PROJECT}:model/{THING}": ["read", "promote"]})
    assert asked.check("ada", "promote", f"{PROJECT}:model/{THING}", now=NOW).reason == (
        "allowed: shared with you (promote)"
    )
    assert not asked.check("ada", "update", f"{PROJECT}:model/{THING}", now=NOW).allowed
    assert not asked.check("ada", "read", f"{PROJECT}:model/{HOSTED}", now=NOW).allowed
    assert asked.allowed_ids("ada", "read", f"{PROJECT}:model", now=NOW).ids == (THING,)
    assert asked.allowed_ids("ada", "read", f"{OTHER}:model", now=NOW).ids == ()
    assert asked.check("ada", "read", f"project/{PROJECT}", now=NOW).reason == (
        "allowed: something in this project is shared with you"
    )
    assert asked.allowed_ids("ada", "read", "project", now=NOW).ids == (PROJECT,)
    assert not asked.check("ada", "read", f"project/{OTHER}", now=NOW).allowed
    assert not asked.check("ada", "read", "project", now=NOW).allowed


def test_project_roles_show_their_project_even_without_permissions() -> None:
    asked = policy(grant("newer_role", project=PROJECT.upper()), grant("project_admin", project=OTHER, expires=NOW))
    assert asked.check("ada", "read", f"project/{PROJECT}", now=NOW).reason == "allowed: member of the project"
    assert asked.allowed_ids("ada", "read", "project", now=NOW).ids == (PROJECT,)
    assert asked.allowed_ids("ada", "update", "project", now=NOW).ids == ()


def test_a_developer_can_do_what_a_run_of_the_stock_client_asks() -> None:
    for role, project in (
        ("tenant_developer", None),
        ("project_developer", PROJECT),
        ("project_contributor", PROJECT),
    ):
        asked = policy(grant(role, project=project))
        for action, resource in (
            ("read", f"project/{PROJECT}"),
            ("read", f"{PROJECT}:pipeline/{THING}"),
            ("create", f"{PROJECT}:pipeline_build"),
            ("create", f"{PROJECT}:pipeline_deployment"),
            ("create", f"{PROJECT}:pipeline_run"),
            ("create", f"{PROJECT}:artifact_version"),
            ("read", f"{PROJECT}:artifact/{THING}"),
            ("create", f"{PROJECT}:run_metadata"),
            ("create", f"{PROJECT}:model_version"),
            ("create", "tag"),
            ("read", f"flavor/{THING}"),
        ):
            assert asked.check("ada", action, resource, now=NOW).allowed, (role, action, resource)
        assert asked.check("ada", "update", f"{PROJECT}:pipeline_run/{THING}", owner="ada", now=NOW).allowed
        assert asked.check("ada", "read", f"stack/{HOSTED}", system_owned=True, now=NOW).allowed


def test_unknown_types_and_actions_are_for_administrators_of_the_place() -> None:
    tenant = policy(grant("tenant_admin"))
    project = policy(grant("project_admin", project=PROJECT))
    developer = policy(grant("tenant_developer"), grant("project_developer", project=PROJECT))
    for action, resource in (("read", f"{PROJECT}:hologram/{THING}"), ("polish", f"{PROJECT}:pipeline")):
        assert tenant.check("ada", action, resource, now=NOW).allowed
        assert project.check("ada", action, resource, now=NOW).allowed
        assert not developer.check("ada", action, resource, now=NOW).allowed
    for resource in ("hologram", f"{OTHER}:hologram"):
        assert tenant.check("ada", "read", resource, now=NOW).allowed
        assert not project.check("ada", "read", resource, now=NOW).allowed
    assert not project.check("ada", "create", f"project/{PROJECT}", now=NOW).allowed


def test_servers_without_projects_know_tenant_roles_only() -> None:
    old = f"{THING}@server:pipeline/{HOSTED}"
    assert policy(grant("tenant_viewer")).check("ada", "read", old, now=NOW).allowed
    assert not policy(grant("project_admin", project=PROJECT)).check("ada", "read", old, now=NOW).allowed
    assert policy(grant("tenant_viewer")).check("ada", "read", Resource("pipeline"), now=NOW).allowed


def test_malformed_questions_are_denied_with_the_cause() -> None:
    asked = policy(grant("tenant_admin"))
    assert asked.check("ada", "read", "stack/default", now=NOW).reason.startswith("denied: 'stack/default' is not a")
    assert asked.allowed_ids("ada", "read", "pipeline", now=NOW).reason.startswith("denied: 'pipeline' lacks a project")
    assert asked.allowed_ids("ada", "read", f"stack/{THING}", now=NOW) == (
        False,
        (),
        f"denied: stack/{THING} is a single resource, a list needs its type only",
    )
    (rule,) = asked.explain("ada", "read", "stack/default", now=NOW).rules
    assert (rule.rule, rule.outcome, rule.deciding) == ("resource", "denies", True)


def test_who_administers() -> None:
    tenant = policy(grant("tenant_viewer"), grant("tenant_admin", via="superuser"))
    assert tenant.administers("ada", NOW) == (True, "allowed: role Admin via superuser")
    assert tenant.administers("ada", NOW, project=PROJECT).allowed
    project = policy(grant("project_admin", project=PROJECT, expires=NOW + 1))
    assert project.administers("ada", NOW, project=PROJECT).allowed
    assert project.administers("ada", NOW, project=OTHER).reason == "denied: no role of yours administers this project"
    assert project.administers("ada", NOW).reason == "denied: no role of yours administers the tenant"
    assert not project.administers("ada", NOW + 1, project=PROJECT).allowed


def test_tokens_end_with_revocation_and_signing_out() -> None:
    asked = policy(grant("tenant_viewer"), valid_after=NOW)
    assert asked.token_allowed("ada", NOW, "session", NOW) == (True, "allowed: member")
    assert asked.token_allowed("ada", NOW, None, NOW).allowed
    assert asked.token_allowed("ada", NOW - 1, "session", NOW).reason.startswith("denied: the token was issued before")
    assert asked.token_allowed("ada", NOW, "signed-out", NOW) == (False, "denied: the session was signed out")


def test_a_policy_serves_for_its_full_age_and_not_longer() -> None:
    asked = policy()
    assert not asked.expired(NOW, NOW + 60, 60)
    assert asked.expired(NOW, NOW + 61, 60)
    assert not asked.expired(NOW + 5, NOW, 60)


def test_an_explanation_shows_every_rule_in_order() -> None:
    asked = policy(
        grant("tenant_viewer"),
        grant("tenant_admin", expires=NOW - 1),
        grant("project_admin", project=OTHER),
        grant("tenant_developer", via="team vision"),
        grant("stack_admin"),
    )
    rules = asked.explain("ada", "update", f"stack/{THING}", owner="bob", now=NOW).rules
    assert [(each.rule, each.outcome) for each in rules] == [
        ("membership", "does not apply"),
        ("platform resource", "does not apply"),
        ("ownership", "does not apply"),
        ("every member", "does not apply"),
        ("role", "does not apply"),
        ("role", "does not apply"),
        ("role", "does not apply"),
        ("role", "allows"),
        ("role", "allows"),
        ("share", "does not apply"),
        ("project membership", "does not apply"),
        ("default", "does not apply"),
    ]
    assert [each.detail for each in rules if each.rule == "role"] == [
        "role Viewer: does not include stack:update",
        "role Admin: has expired",
        f"role Project Admin: held in project {OTHER}, which this is not about",
        "allowed: role Developer via team vision",
        "allowed: role Stack Admin",
    ]
    assert [each.detail for each in rules if each.deciding] == ["allowed: role Developer via team vision"]


def test_effective_permissions_name_scope_and_reason() -> None:
    asked = policy(
        grant("project_contributor", project=PROJECT, via="team vision"),
        grant("tenant_admin", expires=NOW),
        shares={f"{OTHER}:model/{THING}": ["read"]},
    )
    listed = asked.effective("ada", NOW)
    assert listed[:3] == [
        ("flavor:read", "tenant", "every member"),
        ("tag:create", "tenant", "role Project Contributor via team vision"),
        ("tag:read", "tenant", "every member"),
    ]
    assert listed[3] == ("model:read", f"{OTHER}:model/{THING}", "shared with you")
    assert ("project:read", f"project {OTHER}", "something in this project is shared with you") in listed
    assert ("pipeline:create", f"project {PROJECT}", "role Project Contributor via team vision") in listed
    assert not any(each.permission == "stack:read" for each in listed)
