"""The policy in force: versions only grow, age ends it, nothing foreign gets in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cloud import grant

from nagaya_tenant.errors import CredentialsRefused, Unavailable
from nagaya_tenant.policy_state import PolicyState

if TYPE_CHECKING:
    from cloud import Cloud


def test_without_a_policy_nothing_is_decided(cloud: Cloud) -> None:
    state = PolicyState(cloud.tenant, 10)
    with pytest.raises(Unavailable, match="not received"):
        state.check("x", "read", "stack")
    with pytest.raises(ValueError, match="version"):
        state.apply_delta({"base": 1, "version": 2})


def test_age_counts_from_the_last_sign_of_life(cloud: Cloud) -> None:
    now = 1000.0
    state = PolicyState(cloud.tenant, 10, clock=lambda: now)
    member = cloud.member("ada", grant("tenant_viewer"))
    state.apply_snapshot(cloud.document())
    state.alive(995)
    state.alive(990)
    state.require_token(member, 0, None)
    with pytest.raises(CredentialsRefused, match="not a member"):
        state.require_token("somebody else", 0, None)
    now = 1005.0
    assert state.current().version == 1
    now = 1005.1
    with pytest.raises(Unavailable, match="lost contact"):
        state.current()
    state.alive()
    assert state.current().version == 1


def test_older_and_foreign_documents_are_not_applied(cloud: Cloud) -> None:
    state = PolicyState(cloud.tenant, 10)
    first, second = cloud.document(), cloud.document()
    assert state.apply_snapshot(second)
    assert not state.apply_snapshot(first)
    with pytest.raises(ValueError, match="another tenant"):
        state.apply_snapshot({**cloud.document(), "tenant": "somebody else's"})
    assert state.version == 2


def test_a_delta_that_cannot_be_read_changes_nothing(cloud: Cloud) -> None:
    state = PolicyState(cloud.tenant, 10)
    state.apply_snapshot(cloud.document())
    for broken in ({"base": 1, "version": 2, "principals": {"x": 5}}, {"base": 0, "version": 3}, {"base": 1}):
        with pytest.raises(ValueError, match=r"\w"):
            state.apply_delta(broken)
    assert state.version == 1
    assert state.limits == {}
