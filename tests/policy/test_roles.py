"""The catalogue and the roles: complete, described, and closed at each level."""

from __future__ import annotations

import pytest

from nagaya_policy import (
    ACTIONS,
    LEVELS,
    ORGANIZATION_PERMISSIONS,
    PREDEFINED_ROLES,
    RESOURCE_TYPES,
    TENANT_PERMISSIONS,
    RoleError,
    describe_permission,
    find_role,
    is_project_scoped,
    is_tenant_permission,
    make_custom_role,
    permissions_of_level,
)


def test_the_types_of_the_newest_engine_are_all_known() -> None:
    newest = [
        "artifact",
        "artifact_version",
        "code_repository",
        "flavor",
        "model",
        "model_version",
        "pipeline",
        "pipeline_run",
        "pipeline_deployment",
        "pipeline_build",
        "deployment",
        "schedule",
        "run_template",
        "service",
        "run_metadata",
        "secret",
        "service_account",
        "service_connector",
        "stack",
        "stack_component",
        "tag",
        "project",
        "trigger",
        "webhook",
    ]
    assert set(newest) <= set(RESOURCE_TYPES)
    unscoped = [
        "flavor",
        "secret",
        "service_connector",
        "stack",
        "stack_component",
        "tag",
        "service_account",
        "project",
    ]
    assert {each for each in newest if not is_project_scoped(each)} == set(unscoped)
    assert is_project_scoped("hologram") is None


def test_the_catalogue_is_alphabetical_and_described() -> None:
    assert list(RESOURCE_TYPES) == sorted(RESOURCE_TYPES)
    assert list(TENANT_PERMISSIONS) == sorted(TENANT_PERMISSIONS)
    assert {action for each in RESOURCE_TYPES.values() for action in each.actions} == set(ACTIONS)
    assert describe_permission("stack:update") == "Stack: change it."
    assert all(describe_permission(each).endswith(".") for each in TENANT_PERMISSIONS)
    assert [describe_permission(each) for each in ("stack:prune", "hologram:read", "x")] == [
        "stack:prune",
        "hologram:read",
        "x",
    ]
    assert is_tenant_permission("secret:read_secret_value")
    assert not is_tenant_permission("stack:prune")


def test_every_predefined_role_is_documented_and_within_its_level() -> None:
    for name, role in PREDEFINED_ROLES.items():
        assert role.name == name
        assert role.predefined
        assert role.level in LEVELS
        assert role.label
        assert role.description.endswith(".")
        assert role.permissions <= set(permissions_of_level(role.level)), name
    labels = [role.label for role in PREDEFINED_ROLES.values()]
    assert len(set(labels)) == len(labels)


def test_only_administrators_see_the_secret_values_of_others() -> None:
    holders = {name for name, role in PREDEFINED_ROLES.items() if "secret:read_secret_value" in role.permissions}
    assert holders == {"tenant_admin"}


def test_permissions_of_levels() -> None:
    assert permissions_of_level("organization") == tuple(ORGANIZATION_PERMISSIONS)
    assert permissions_of_level("tenant") == TENANT_PERMISSIONS
    of_project = permissions_of_level("project")
    assert "pipeline:read" in of_project
    assert not {each for each in of_project if each.startswith(("stack", "secret", "service_connector"))}
    with pytest.raises(RoleError, match="There is no level 'galaxy'"):
        permissions_of_level("galaxy")


def test_custom_roles_are_checked_strictly() -> None:
    role = make_custom_role("analyst", "project", ["pipeline:read"], label="Analyst", description="Looks.")
    assert (role.label, role.description, role.predefined, role.full) == ("Analyst", "Looks.", False, False)
    assert make_custom_role("analyst", "tenant", []).label == "analyst"
    with pytest.raises(RoleError, match="tenant_admin is a predefined role"):
        make_custom_role("tenant_admin", "tenant", [])
    with pytest.raises(RoleError, match="cannot hold stack:read: these permissions exist, but not in a role of this"):
        make_custom_role("analyst", "project", ["stack:read", "model:read"])
    with pytest.raises(RoleError, match="cannot hold hologram:read, stack:read: these permissions do not exist at"):
        make_custom_role("analyst", "project", ["stack:read", "hologram:read"])


def test_roles_are_found_by_name() -> None:
    custom = make_custom_role("analyst", "project", ["pipeline:read"])
    assert find_role("tenant_admin") is PREDEFINED_ROLES["tenant_admin"]
    assert find_role("analyst", {"analyst": custom}) is custom
    with pytest.raises(RoleError, match="There is no role 'analyst'"):
        find_role("analyst")
