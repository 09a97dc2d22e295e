"""Organization permissions: union of grants, expiry, and the rule that nobody gives more than they have."""

from __future__ import annotations

from nagaya_policy import (
    ORGANIZATION_PERMISSIONS,
    PREDEFINED_ROLES,
    Grant,
    check_assignment,
    check_organization,
    implied_tenant_role,
    make_custom_role,
    organization_permissions,
)

ADMIN, MANAGER, VIEWER, MEMBER, BILLING = (
    PREDEFINED_ROLES[name]
    for name in (
        "organization_admin",
        "organization_manager",
        "organization_viewer",
        "organization_member",
        "billing_admin",
    )
)
NOW = 100


def test_the_catalogue_is_alphabetical_and_every_entry_is_a_sentence() -> None:
    assert list(ORGANIZATION_PERMISSIONS) == sorted(ORGANIZATION_PERMISSIONS)
    assert all(meaning.endswith(".") for meaning in ORGANIZATION_PERMISSIONS.values())


def test_roles_add_up_and_the_giving_one_is_named() -> None:
    grants = [Grant(MEMBER), Grant(BILLING, via="team finance")]
    assert check_organization(grants, "billing:update", NOW) == (True, "allowed: role Billing Admin via team finance")
    assert check_organization(grants, "member:read", NOW).reason == (
        "denied: no role of yours grants member:read (your roles: Organization Member, Billing Admin)"
    )


def test_an_expired_grant_is_no_membership() -> None:
    grants = [Grant(ADMIN, expires=NOW)]
    assert check_organization(grants, "organization:read", NOW - 1).allowed
    assert check_organization(grants, "organization:read", NOW) == (
        False,
        "denied: not a member of the organization",
    )


def test_tenant_roles_count_for_nothing_in_an_organization() -> None:
    for permission in ("organization:read", "hologram:polish"):
        decision = check_organization([Grant(PREDEFINED_ROLES["tenant_admin"])], permission, NOW)
        assert decision == (False, "denied: not a member of the organization")


def test_permissions_of_the_future_are_for_administrators() -> None:
    assert check_organization([Grant(ADMIN)], "hologram:polish", NOW).allowed
    assert not check_organization([Grant(MANAGER)], "hologram:polish", NOW).allowed


def test_all_permissions_are_listed_with_their_source() -> None:
    listed = organization_permissions([Grant(MEMBER), Grant(BILLING, via="team finance"), Grant(ADMIN, expires=1)], NOW)
    assert list(listed.items()) == [
        ("billing:read", "role Billing Admin via team finance"),
        ("billing:update", "role Billing Admin via team finance"),
        ("organization:read", "role Organization Member"),
        ("usage:read", "role Billing Admin via team finance"),
    ]


def test_nobody_assigns_more_than_they_have() -> None:
    assert check_assignment([Grant(ADMIN)], ADMIN, NOW).allowed
    assert check_assignment([Grant(MANAGER)], MEMBER, NOW).allowed
    refused = check_assignment([Grant(MANAGER)], ADMIN, NOW)
    assert not refused.allowed
    assert "Organization Admin permits more than your own roles do: audit:read" in refused.reason
    assert not check_assignment([Grant(MANAGER)], VIEWER, NOW).allowed
    assert check_assignment([Grant(MEMBER)], MEMBER, NOW).reason.startswith("denied: no role of yours grants")
    custom = make_custom_role("auditor", "organization", ["audit:read", "organization:read"])
    assert not check_assignment([Grant(MANAGER)], custom, NOW).allowed
    assert check_assignment([Grant(MANAGER), Grant(custom)], custom, NOW).allowed


def test_which_organization_roles_lead_into_tenants() -> None:
    implied = {
        name: implied_tenant_role(name) for name, role in PREDEFINED_ROLES.items() if role.level == "organization"
    }
    assert implied == {
        "organization_admin": "tenant_admin",
        "organization_manager": None,
        "organization_viewer": "tenant_visitor",
        "billing_admin": None,
        "organization_member": None,
        "team_viewer": None,
    }
    assert implied_tenant_role("no such role") is None
