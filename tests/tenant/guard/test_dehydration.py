"""Lists of members who may read everything: the shortcut gives, byte for byte, what ZenML's own masking gives."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from cloud import grant
from seed import Seed

from nagaya_policy.catalogue import TENANT_PERMISSIONS
from nagaya_tenant import dehydration
from nagaya_tenant.routes import routes_of

if TYPE_CHECKING:
    from world import Answer, World

READ_ALL = ("owner", "admin", "organization-admin", "developer", "viewer")
PARTIAL = (
    "contributor",
    "stack-admin",
    "visitor",
    "project-admin",
    "project-developer",
    "project-contributor",
    "project-viewer",
)
# ZenML has about this many lists.
LISTS = 20
# A run that has no start time yet is shown with the time of the answer.
NOW = re.compile(rb'"substitutions":{"date":"[0-9_]+","time":"[0-9_]+"}')


@pytest.fixture(scope="module")
def seeded(world: World) -> Seed:
    world.reset()
    return Seed(world)


class Switch:
    """Turns the shortcut off, and counts how often it was taken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on = True
        self.taken = 0
        original = dehydration.reads_everything

        def counted(account: Any) -> bool:
            taken = self.on and original(account)
            self.taken += taken
            return taken

        monkeypatch.setattr(dehydration, "reads_everything", counted)


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Switch:
    return Switch(monkeypatch)


def lists(world: World, seeded: Seed) -> list[tuple[str, dict[str, str]]]:
    """Path and query of each list of the application, with and without details."""
    found = []
    for method, template in routes_of(world.zenml):
        if method != "GET" or not template.startswith("/api/v1/") or "{" in template:
            continue
        path, query = seeded.path(template), seeded.query(method, template)
        answer = world.request("GET", path, seeded.token, query=query)
        if answer.status == 200 and answer.body.startswith(b'{"index"'):
            found += [(path, query | {"hydrate": hydrate}) for hydrate in ("true", "false")]
    return found


def both(world: World, switch: Switch, token: str, path: str, query: dict[str, str]) -> tuple[Answer, Answer]:
    answers = []
    for switch.on in (True, False):
        answers.append(world.request("GET", path, token, query=query))
    return answers[0], answers[1]


@pytest.mark.parametrize("member", READ_ALL + PARTIAL)
def test_answers_are_the_same_with_and_without_the_shortcut(
    tenant: World, seeded: Seed, switch: Switch, member: str
) -> None:
    found = lists(tenant, seeded)
    assert len(found) >= 2 * LISTS
    token, switch.taken, filled = tenant.login(member), 0, 0
    for path, query in found:
        short, full = both(tenant, switch, token, path, query)
        assert short.status == full.status
        assert NOW.sub(b"", short.body) == NOW.sub(b"", full.body), (path, query)
        filled += short.status == 200 and bool(short.json()["items"])
    if member in READ_ALL:
        assert switch.taken >= LISTS
        assert filled >= LISTS
    else:
        assert switch.taken == 0


def test_a_role_that_lacks_one_type_is_masked_by_zenml(tenant: World) -> None:
    """Flavors and tags are read by every member, whatever the role says."""
    from zenml.zen_server.rbac.models import ResourceType

    types = [each.value for each in ResourceType]
    assert len(types) >= LISTS
    for missing in types:
        reads = [each for each in TENANT_PERMISSIONS if each.endswith(":read") and each != f"{missing}:read"]
        tenant.cloud.roles["almost"] = {"level": "tenant", "label": "Almost", "permissions": reads}
        principal = tenant.cloud.member("almost", grant("almost"))
        tenant.apply()
        assert tenant.parts.policy.reads_all(principal, types) is (missing in {"flavor", "tag"}), missing


def test_a_project_role_beside_it_does_not_help(tenant: World) -> None:
    """What is read in one project only is not read in every project."""
    project = str(tenant.project)
    principal = tenant.cloud.member("both", grant("tenant_contributor"), grant("project_admin", project))
    tenant.apply()
    assert not tenant.parts.policy.reads_all(principal, ["pipeline"])


def test_an_ended_role_is_masked_at_once(tenant: World) -> None:
    ended = {**grant("tenant_viewer"), "expires": 1}
    principal = tenant.cloud.member("former", ended, grant("tenant_contributor"))
    tenant.apply()
    assert not tenant.parts.policy.reads_all(principal, ["stack"])


def test_nobody_unknown_reads_everything(tenant: World) -> None:
    assert not dehydration.reads_everything(tenant.system_user)


def test_it_is_installed_once(tenant: World) -> None:
    from zenml.zen_server.rbac import utils as rbac_utils

    before = rbac_utils.dehydrate_response_model_batch
    dehydration.install(rbac_utils)
    assert rbac_utils.dehydrate_response_model_batch is before
