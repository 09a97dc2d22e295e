"""Every resource type × action × predefined role, and every organization permission × role, as written expectations.

The tables are the specification; nothing in them is derived from the code. A type, action or role that is missing from
a table is a leftover and fails.
"""

from __future__ import annotations

import pytest

from nagaya_policy import (
    ACTIONS,
    ORGANIZATION_PERMISSIONS,
    PREDEFINED_ROLES,
    RESOURCE_TYPES,
    Grant,
    Policy,
    check_organization,
    is_project_scoped,
)

PROJECT = "aaaaaaaa-0000-4000-8000-000000000001"
OTHER_PROJECT = "aaaaaaaa-0000-4000-8000-000000000002"
THING = "bbbbbbbb-0000-4000-8000-000000000001"

LETTERS = {
    "c": "create",
    "r": "read",
    "u": "update",
    "d": "delete",
    "s": "share",
    "l": "client",
    "m": "promote",
    "p": "prune",
    "b": "backup_restore",
    "v": "read_secret_value",
}

# The column `all` is what administrators may do, which is everything that means something on the type.
TENANT_TABLE = """
type                          all      admin    developer contributor viewer stack_admin visitor
action                        cruds    cruds    cr        -           r      -           -
artifact                      crudsl   crudsl   crl       -           rl     -           -
artifact_version              crudslp  crudslp  crl       -           rl     -           -
code_repository               cruds    cruds    cr        -           r      -           -
deployment                    cruds    cruds    cr        -           r      -           -
event_source                  cruds    cruds    cr        -           r      -           -
flavor                        cruds    cruds    cr        cr          r      r           r
model                         crudsm   crudsm   cr        -           r      -           -
model_version                 crudsm   crudsm   cr        -           r      -           -
pipeline                      cruds    cruds    cr        -           r      -           -
pipeline_build                cruds    cruds    cr        -           r      -           -
pipeline_deployment           crudsp   crudsp   cr        -           r      -           -
pipeline_run                  cruds    cruds    cr        -           r      -           -
project                       cruds    cruds    cr        -           r      -           -
resource_pool                 cruds    cruds    r         -           r      -           -
resource_pool_subject_policy  cruds    cruds    r         -           r      -           -
run_metadata                  cruds    cruds    cr        -           r      -           -
run_template                  cruds    cruds    cr        -           r      -           -
schedule                      cruds    cruds    cr        -           r      -           -
secret                        crudsvb  crudsvb  cr        c           r      cr          -
service                       cruds    cruds    cr        -           r      -           -
service_account               cruds    cruds    r         -           r      -           -
service_connector             crudslv  crudslv  crl       c           r      crudslv     -
stack                         cruds    cruds    cru       c           r      cruds       -
stack_component               cruds    cruds    cru       c           r      cruds       -
tag                           cruds    cruds    cr        cr          r      r           r
trigger                       cruds    cruds    cr        -           r      -           -
trigger_execution             cruds    cruds    cr        -           r      -           -
webhook                       cruds    cruds    cr        -           r      -           -
"""

# Project roles are asked about things in their project, about tenant-wide things, and about the project itself.
PROJECT_TABLE = """
type                          all      admin    developer contributor viewer
action                        cruds    cruds    cr        c           r
artifact                      crudsl   crudsl   crl       cr          rl
artifact_version              crudslp  crudslp  crl       c           rl
code_repository               cruds    cruds    cr        cr          r
deployment                    cruds    cruds    cr        c           r
event_source                  cruds    cruds    cr        c           r
flavor                        cruds    r        r         r           r
model                         crudsm   crudsm   cr        cr          r
model_version                 crudsm   crudsm   cr        c           r
pipeline                      cruds    cruds    cr        cr          r
pipeline_build                cruds    cruds    cr        c           r
pipeline_deployment           crudsp   crudsp   cr        c           r
pipeline_run                  cruds    cruds    cr        c           r
project                       cruds    ruds     r         r           r
resource_pool                 cruds    -        -         -           -
resource_pool_subject_policy  cruds    -        -         -           -
run_metadata                  cruds    cruds    cr        c           r
run_template                  cruds    cruds    cr        c           r
schedule                      cruds    cruds    cr        c           r
secret                        crudsvb  -        -         -           -
service                       cruds    cruds    cr        c           r
service_account               cruds    -        -         -           -
service_connector             crudslv  -        -         -           -
stack                         cruds    -        -         -           -
stack_component               cruds    -        -         -           -
tag                           cruds    cr       cr        cr          r
trigger                       cruds    cruds    cr        c           r
trigger_execution             cruds    cruds    cr        c           r
webhook                       cruds    cruds    cr        c           r
"""

# admin, manager, viewer, billing, member, team viewer.
ORGANIZATION_TABLE = """
permission organization_admin organization_manager organization_viewer billing_admin organization_member team_viewer
audit:read              x - - - - -
billing:read            x - - x - -
billing:update          x - - x - -
invitation:create       x x - - - -
invitation:delete       x x - - - -
invitation:read         x x x - - -
member:create           x x - - - -
member:delete           x - - - - -
member:read             x x x - - x
member:update           x x - - - -
organization:delete     x - - - - -
organization:read       x x x x x x
organization:update     x x - - - -
role:assign             x x - - - -
role:create             x x - - - -
role:delete             x - - - - -
role:read               x x x - - -
role:update             x x - - - -
service_account:create  x x - - - -
service_account:delete  x - - - - -
service_account:read    x x x - - -
service_account:update  x x - - - -
team:create             x x - - - -
team:delete             x - - - - -
team:read               x x x - - x
team:update             x x - - - -
tenant:create           x x - - - -
tenant:delete           x - - - - -
tenant:enter            x - x - - -
tenant:operate          x x - - - -
tenant:read             x x x - - -
tenant:update           x x - - - -
usage:read              x x x x - -
"""


def cells(table: str) -> list[tuple[str, str, str]]:
    """All cells of a table as (row name, column name, content)."""
    header, *rows = [line.split() for line in table.strip().splitlines()]
    for row in rows:
        assert len(row) == len(header), row
    return [(row[0], column, cell) for row in rows for column, cell in zip(header[1:], row[1:], strict=True)]


def role_name(level: str, column: str) -> str:
    return column if column == "stack_admin" else f"{level}_{column}"


def actions_of(cell: str) -> set[str]:
    return {LETTERS[letter] for letter in cell if letter != "-"}


def policy_for(role: str, project: str | None) -> Policy:
    grant = {"role": role, "via": "direct", "project": project, "expires": None}
    return Policy.from_document(
        {
            "schema": 1,
            "tenant": THING,
            "version": 1,
            "principals": {"me": {"kind": "user", "username": "me", "grants": [grant]}},
        }
    )


TABLES = (("tenant", TENANT_TABLE, None), ("project", PROJECT_TABLE, PROJECT))
CASES = [
    pytest.param(type_name, role_name(level, column), actions_of(cell), project, id=f"{column}-{level}-{type_name}")
    for level, table, project in TABLES
    for type_name, column, cell in cells(table)
    if column != "all"
]


@pytest.mark.parametrize(("type_name", "role", "expected", "project"), CASES)
def test_a_role_permits_exactly_what_the_table_says(
    type_name: str, role: str, expected: set[str], project: str | None
) -> None:
    policy = policy_for(role, project)
    full = PREDEFINED_ROLES[role].full
    if type_name == "project":
        resource = f"project/{PROJECT}"
    else:
        resource = f"{PROJECT}:{type_name}/{THING}" if is_project_scoped(type_name) else f"{type_name}/{THING}"
    meaningful = RESOURCE_TYPES[type_name].actions
    for action in ACTIONS:
        decision = policy.check("me", action, resource, now=10)
        if action in meaningful or not full:
            assert decision.allowed == (action in expected), (action, decision)
        type_only = resource.partition("/")[0]
        listed = policy.allowed_ids("me", action, type_only, now=10)
        if type_name == "project" and project is not None:
            assert listed.full_access is False
            assert listed.ids == ((PROJECT,) if decision.allowed else ())
        else:
            assert listed.full_access == decision.allowed


@pytest.mark.parametrize(
    ("type_name", "role", "expected", "project"),
    [case for case in CASES if case.values[0] == "project" or is_project_scoped(str(case.values[0]))],
)
def test_a_project_role_permits_nothing_in_other_projects(
    type_name: str, role: str, expected: set[str], project: str | None
) -> None:
    inside = f"{OTHER_PROJECT}:{type_name}/{THING}"
    resource = f"project/{OTHER_PROJECT}" if type_name == "project" else inside
    for action in RESOURCE_TYPES[type_name].actions:
        allowed = policy_for(role, project).check("me", action, resource, now=10).allowed
        assert allowed == (project is None and action in expected)


def test_nothing_is_left_over() -> None:
    assert set(LETTERS.values()) == set(ACTIONS)
    for level, table, _project in TABLES:
        expected = {
            (type_name, role)
            for type_name in RESOURCE_TYPES
            for role, each in PREDEFINED_ROLES.items()
            if each.level == level
        }
        written = {(row, role_name(level, column)) for row, column, _ in cells(table) if column != "all"}
        assert written == expected
        for type_name, column, cell in cells(table):
            if column == "all":
                assert actions_of(cell) == set(RESOURCE_TYPES[type_name].actions), type_name
    written_permissions = {(row, column) for row, column, _ in cells(ORGANIZATION_TABLE)}
    assert written_permissions == {
        (permission, role)
        for permission in ORGANIZATION_PERMISSIONS
        for role, each in PREDEFINED_ROLES.items()
        if each.level == "organization"
    }


@pytest.mark.parametrize(("permission", "role", "cell"), cells(ORGANIZATION_TABLE))
def test_an_organization_role_permits_exactly_what_the_table_says(permission: str, role: str, cell: str) -> None:
    decision = check_organization([Grant(PREDEFINED_ROLES[role])], permission, now=10)
    assert decision.allowed == (cell == "x"), decision
    label = PREDEFINED_ROLES[role].label
    assert decision.reason == (
        f"allowed: role {label}"
        if cell == "x"
        else f"denied: no role of yours grants {permission} (your roles: {label})"
    )
