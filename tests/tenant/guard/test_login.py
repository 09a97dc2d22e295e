"""Login and the tokens that come of it: what is accepted, what is refused, what ends them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from world import World


def test_a_member_logs_in_and_lists_projects(tenant: World) -> None:
    token = tenant.login("developer")
    answer = tenant.request("GET", "/api/v1/projects", token)
    assert answer.status == 200, answer.body
    assert [each["name"] for each in answer.json()["items"]] == ["default"]
