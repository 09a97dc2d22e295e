"""What the commands do with organizations, members, tenants, operations and keys."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Nagaya
from tests.cli.platform import KEY, MemoryPlatform


@pytest.fixture
def acme(platform: MemoryPlatform) -> MemoryPlatform:
    """A platform with two organizations; both have a tenant `staging`, one has `production`."""
    acme, beta = platform.organization("acme"), platform.organization("beta")
    platform.tenant(acme, "staging", stage="staging", labels={"team": "vision"})
    platform.tenant(acme, "production")
    platform.tenant(beta, "staging")
    return platform


def test_organizations_are_listed_for_people_and_for_programs(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    assert "acme" in nagaya("org", "list").out
    assert [item["name"] for item in nagaya("org", "list", "--json").json] == ["acme", "beta"]


def test_empty_lists_say_what_to_do(nagaya: Nagaya, platform: MemoryPlatform) -> None:
    for command, hint in (("org", "nagaya org create"), ("tenant", "nagaya tenant create"), ("token", "token create")):
        result = nagaya(command, "list")
        assert (result.code, result.out) == (0, "")
        assert hint in result.err
        assert nagaya(command, "list", "--json").json == []


def test_an_organization_is_created_shown_and_deleted(nagaya: Nagaya, platform: MemoryPlatform) -> None:
    assert "acme has been created" in nagaya("org", "create", "acme", "--display-name", "Acme").out
    assert platform.requests[-1][2] == {"name": "acme", "display_name": "Acme"}
    assert "Acme" in nagaya("org", "show", "acme").out
    assert nagaya("org", "delete", "acme", "--yes", "--json").json["deleted"] is True


def test_an_organization_with_tenants_is_a_conflict(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    result = nagaya("org", "delete", "acme", "--yes")
    assert result.code == 5
    assert "still has tenants" in result.err


def test_deletions_ask_first(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    for arguments in (("org", "delete", "acme"), ("tenant", "delete", "production")):
        assert nagaya(*arguments, input="n\n").code == 1
    assert not any(method == "DELETE" for method, _, _ in acme.requests)


def test_a_mistyped_organization_is_suggested(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    result = nagaya("org", "show", "acne")
    assert result.code == 3
    assert "There is no organization acne. Did you mean acme?" in result.err


def test_members_are_listed_added_and_removed(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    assert "organization_admin" in nagaya("org", "members", "list", "acme").out
    added = nagaya("org", "members", "add", "acme", "bob@example.com")
    assert "bob@example.com is now a member of acme (organization_member)." in added.out
    assert "no longer a member" in nagaya("org", "members", "remove", "acme", "bob@example.com", "--yes").out
    wrong = nagaya("org", "members", "remove", "acme", "adda", "--yes")
    assert (wrong.code, "Did you mean" in wrong.err) == (3, True)


def test_invalid_input_names_the_field(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    result = nagaya("org", "members", "add", "acme", "bob@elsewhere.org")
    assert result.code == 2
    assert "user: there is no such user" in result.err


def test_tenants_are_listed_with_filters(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    result = nagaya("tenant", "list", "--organization", "acme")
    assert result.out.count("acme ") == 2
    assert "beta" not in result.out
    assert len(nagaya("tenant", "list", "--json").json) == 3


def test_long_lists_are_walked_page_by_page(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    acme.page_limit = 2
    assert len(nagaya("tenant", "list", "--json").json) == 3


def test_a_tenant_is_created_and_waited_for(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    result = nagaya("tenant", "create", "acme/dev", "--label", "team=nlp", "--stage", "staging", "--no-hibernate")
    assert result.code == 0, result.err
    assert f"Tenant acme/dev is available at {acme.url}/t/acme/dev." in result.out
    assert "✓ write specification (1.5 s)" in result.err
    assert "nagaya tenant connect acme/dev" in result.err
    body = next(body for method, path, body in acme.requests if (method, path) == ("POST", "/tenants"))
    assert body == {
        "name": "dev",
        "organization_id": acme.organizations[0]["id"],
        "labels": {"team": "nlp"},
        "stage": "staging",
        "hibernate": False,
    }


def test_a_tenant_is_created_without_waiting(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    result = nagaya("tenant", "create", "dev", "--organization", "acme", "--no-wait")
    assert "is pending" in result.out
    assert "nagaya operation watch" in result.err


def test_the_only_organization_need_not_be_named(nagaya: Nagaya, platform: MemoryPlatform) -> None:
    none = nagaya("tenant", "create", "dev")
    assert (none.code, "nagaya org create" in none.err) == (3, True)
    platform.organization("acme")
    assert nagaya("tenant", "create", "dev", "--json").json["organization"]["name"] == "acme"
    platform.organization("beta")
    several = nagaya("tenant", "create", "dev")
    assert (several.code, "--organization: acme, beta" in several.err) == (2, True)


def test_contradictions_and_bad_labels_are_usage_errors(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    assert nagaya("tenant", "create", "acme/dev", "--organization", "beta").code == 2
    assert nagaya("tenant", "create", "acme/dev", "--label", "team").code == 2
    assert nagaya("tenant", "create", "acme/dev", "--idle-seconds", "0").code == 2


def test_a_taken_name_is_a_conflict_also_for_programs(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    result = nagaya("tenant", "create", "acme/staging", "--json")
    assert result.code == 5
    assert '"error": "Conflict"' in result.err
    assert '"exit_code": 5' in result.err
    assert result.out == ""


def test_a_failed_operation_fails_the_command(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    acme.failing_operations = True
    result = nagaya("tenant", "create", "acme/dev")
    assert result.code == 1
    assert "The operation create failed: the disk is full" in result.err
    assert "✗ write specification" in result.err


def test_a_wait_that_takes_too_long(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    acme.polls_before_end = 10_000
    result = nagaya("tenant", "create", "acme/dev", "--timeout", "1")
    assert result.code == 6
    assert "nagaya operation watch" in result.err


def test_names_are_resolved_and_ambiguous_ones_list_the_choices(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    assert "production" in nagaya("tenant", "show", "production").out
    assert "vision" in nagaya("tenant", "show", "acme/staging").out
    assert nagaya("tenant", "show", acme.tenants[2]["id"], "--json").json["organization"]["name"] == "beta"
    ambiguous = nagaya("tenant", "show", "staging")
    assert (ambiguous.code, "acme/staging, beta/staging" in ambiguous.err) == (2, True)
    mistyped = nagaya("tenant", "show", "prodution")
    assert (mistyped.code, "Did you mean production?" in mistyped.err) == (3, True)
    elsewhere = nagaya("tenant", "show", "beta/stagin")
    assert (elsewhere.code, "Did you mean beta/staging?" in elsewhere.err) == (3, True)


def test_a_tenant_is_deactivated_and_deployed(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    assert "acme/production is deactivated" in nagaya("tenant", "deactivate", "production").out
    assert "acme/production is available" in nagaya("tenant", "deploy", "production").out


def test_a_tenant_is_protected_deleted_and_restored(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    protected = nagaya("tenant", "delete", "production", "--yes")
    assert (protected.code, "protected" in protected.err) == (5, True)
    deleted = nagaya("tenant", "delete", "production", "--yes", "--unprotect")
    assert deleted.code == 0, deleted.err
    assert nagaya("tenant", "show", "production").code == 3
    assert "acme/production is available" in nagaya("tenant", "restore", "acme/production").out
    assert nagaya("tenant", "restore", "acme/production").code == 3


def test_a_deleted_name_that_is_not_unique_needs_the_id(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    for tenant in acme.tenants:
        tenant["status"] = "deleted"
    result = nagaya("tenant", "restore", "staging")
    assert result.code == 2
    assert acme.tenants[0]["id"] in result.err
    assert nagaya("tenant", "restore", acme.tenants[0]["id"]).code == 0


def test_logs(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    assert nagaya("tenant", "logs", "production").out == "one\ntwo\n"
    assert nagaya("tenant", "logs", "production", "--lines", "1", "--json").json == {"lines": ["two"]}
    acme.log = []
    assert "empty" in nagaya("tenant", "logs", "production").err


def test_connect_prints_lines_that_a_shell_takes(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    result = nagaya("tenant", "connect", "production")
    assert f"zenml login {acme.url}/t/acme/production\n" in result.out
    assert f"export ZENML_PRO_API_URL={acme.url}/api/v1\n" in result.out
    assert 'pip install "zenml[local]==0.98.0"' in result.out
    assert nagaya("tenant", "connect", "production", "--json").json["pro_api_url"] == f"{acme.url}/api/v1"


def test_open_prints_the_page(nagaya: Nagaya, acme: MemoryPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert nagaya("tenant", "open", "production").out.strip() == f"{acme.url}/o/acme/t/production"
    assert opened == [f"{acme.url}/o/acme/t/production"]


def test_operations_are_listed_shown_and_watched(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    nagaya("tenant", "deactivate", "production", "--no-wait")
    [operation] = acme.operations
    assert operation in nagaya("operation", "list", "--tenant", "production").out
    assert nagaya("operation", "watch", operation, "--json").json["status"] == "succeeded"
    assert "✓ write specification" in nagaya("operation", "show", operation).out
    assert nagaya("operation", "show", operation, "--json").json["id"] == operation
    assert nagaya("operation", "show", "nothing").code == 3


def test_a_key_is_created_listed_and_revoked(nagaya: Nagaya, platform: MemoryPlatform) -> None:
    created = nagaya("token", "create", "ci", "--expires-in-days", "30")
    assert created.out == f"{KEY}\n"
    assert "expires" in platform.requests[-1][2]
    assert nagaya("token", "create", "ci", "--json").json["key"] == KEY
    assert "0000" in nagaya("token", "list").out
    twice = nagaya("token", "revoke", "ci")
    assert (twice.code, platform.keys[0]["id"] in twice.err) == (2, True)
    assert nagaya("token", "revoke", platform.keys[0]["id"]).code == 0
    mistyped = nagaya("token", "revoke", "cii")
    assert (mistyped.code, "Did you mean ci?" in mistyped.err) == (3, True)


def test_keys_of_a_service_account(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    acme.service_accounts.append({"id": "s1", "name": "robot"})
    acme.keys.append({"id": "k1", "name": "night", "hint": "1234"})
    assert "night" in nagaya("token", "list", "--service-account", "acme/robot").out
    assert nagaya("token", "list", "--service-account", "robot").code == 2
    mistyped = nagaya("token", "list", "--service-account", "acme/robo")
    assert (mistyped.code, "Did you mean robot?" in mistyped.err) == (3, True)


def test_a_service_account_is_made_used_and_deleted(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    assert "service-account create acme/NAME" in nagaya("service-account", "list", "acme").err
    assert "acme/robot has been created (organization_member)" in nagaya("service-account", "create", "acme/robot").out
    assert acme.requests[-1][2] == {"name": "robot", "description": "", "roles": ["organization_member"]}
    assert nagaya("service-account", "create", "robot").code == 2
    assert "robot" in nagaya("service-account", "list", "acme").out
    key = nagaya("service-account", "key", "create", "acme/robot", "ci", "--expires-in-days", "7")
    assert (key.out, "cannot be shown again" in key.err) == (f"{KEY}\n", True)
    assert "ci" in nagaya("service-account", "key", "list", "acme/robot").out
    assert nagaya("service-account", "key", "revoke", "acme/robot", "ci", "--json").json["revoked"] is True
    assert nagaya("service-account", "delete", "acme/robot", input="n\n").code == 1
    assert nagaya("service-account", "delete", "acme/robot", "--yes", "--json").json["deleted"] is True
    assert nagaya("service-account", "delete", "acme/rowbot", "-y").code == 3


def test_users_are_made_listed_and_locked_out(nagaya: Nagaya, platform: MemoryPlatform) -> None:
    made = nagaya("user", "create", "grace@example.com", "--superuser")
    assert made.out == f"{platform.url}/setup?token=once\n"
    assert platform.requests[-1][2] == {"email": "grace@example.com", "is_superuser": True}
    assert nagaya("user", "list", "--json").json[0]["username"] == "grace"
    assert nagaya("user", "deactivate", "grace", input="n\n").code == 1
    assert "grace has been deactivated" in nagaya("user", "deactivate", "GRACE@example.com", "-y").out
    assert platform.users[0]["is_active"] is False
    mistyped = nagaya("user", "deactivate", "grce", "-y")
    assert (mistyped.code, "Did you mean grace" in mistyped.err) == (3, True)
    assert "password_link" in nagaya("user", "create", "alan@example.com", "--json").json


def test_members_of_a_tenant(nagaya: Nagaya, acme: MemoryPlatform) -> None:
    added = nagaya("tenant", "members", "add", "acme/staging", "robot", "--role", "tenant_developer")
    assert "robot is now a member of acme/staging (tenant_developer)" in added.out
    assert "tenant_developer" in nagaya("tenant", "members", "list", "acme/staging").out
    assert nagaya("tenant", "members", "remove", "acme/staging", "robbot", "-y").code == 3
    assert nagaya("tenant", "members", "remove", "acme/staging", "robot", "-y", "--json").json["removed"] is True
