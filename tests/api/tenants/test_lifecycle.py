"""The table of the tenant's life: complete by reflection, and every pair of state and event over HTTP."""

import itertools
from collections.abc import Iterator

import pytest
from sqlalchemy import update

from nagaya.db.base import utc_now
from nagaya.errors import Conflict
from nagaya.runtime.interface import TenantState
from nagaya.tenants.lifecycle import (
    PEOPLE,
    REFUSALS,
    SETTLED,
    STORED,
    TRANSITIONS,
    Event,
    State,
    follow,
    observe,
    state_of,
)
from nagaya.tenants.models import Tenant
from nagaya.tenants.observation import event_of
from tests.api.tenants.installation import Actor, Installation, installation
from tests.api.tenants.runtimes import AbsentRuntime

EVERYTHING = list(itertools.product(State, Event))
CALLS = {
    Event.DEPLOY: ("PATCH", "/deploy"),
    Event.DEACTIVATE: ("PATCH", "/deactivate"),
    Event.DELETE: ("DELETE", ""),
    Event.RESTORE: ("POST", "/restore"),
}


@pytest.mark.parametrize(("state", "event"), EVERYTHING)
def test_every_pair_is_decided(state: State, event: Event) -> None:
    after = TRANSITIONS[state].get(event)
    if event not in PEOPLE:
        assert observe(state, event) is (after or state)
        assert (state, event) not in REFUSALS
    elif after is not None:
        assert follow(state, event, "acme/t") is after
        assert (state, event) not in REFUSALS
    else:
        with pytest.raises(Conflict, match=r"^acme/t .*\.$"):
            follow(state, event, "acme/t")


def test_every_state_is_stored_in_its_own_way() -> None:
    assert len(set(STORED.values())) == len(State)
    assert {state_of(*stored) for stored in STORED.values()} == set(State)


@pytest.mark.parametrize("state", [state for state in State if state is not State.PURGED])
def test_from_everywhere_people_can_get_rid_of_a_tenant(state: State) -> None:
    reached = {state}
    while grown := {after for each in reached for after in TRANSITIONS[each].values()} - reached:
        reached |= grown
    assert State.PURGED in reached


@pytest.mark.parametrize("state", set(State) - SETTLED)
def test_whatever_is_under_way_can_end_by_a_report(state: State) -> None:
    assert any(after in SETTLED for event, after in TRANSITIONS[state].items() if event not in PEOPLE)


def test_every_state_of_the_runtime_has_a_meaning() -> None:
    from nagaya.runtime.interface import STATES  # noqa: PLC0415
    from nagaya.tenants.observation import ACTIVITIES  # noqa: PLC0415

    assert set(ACTIVITIES) == set(STATES)
    found = {
        state: event_of(TenantState(id="", organization="", tenant="", engine="", generation=1, state=state))
        for state in STATES
    }
    assert found == {
        "awake": Event.READY,
        "failed": Event.SPAWN_FAILED,
        "stopped": Event.STOPPED,
        "deleted": Event.REMOVED,
        "asleep": None,
        "starting": None,
        "stopping": None,
    }


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    # A runtime that never answers leaves every state as the test has put it.
    with installation(tmp_path_factory.mktemp("data"), AbsentRuntime, default_engine="0.98.0") as running:
        yield running


@pytest.fixture(scope="module")
def root(api: Installation) -> Actor:
    actor = api.user("root", superuser=True)
    assert actor.http.post("/organizations", json={"name": "acme"}).status_code == 201
    return actor


@pytest.mark.parametrize(("state", "event"), [pair for pair in EVERYTHING if pair[1] in PEOPLE])
def test_every_act_in_every_state_over_http(api: Installation, root: Actor, state: State, event: Event) -> None:
    name = f"t-{state}-{event}".replace("_", "-")
    made = root.http.post("/tenants", json={"name": name, "organization": "acme", "protected": False})
    tenant_id = made.json()["id"]
    desired, status = STORED[state]
    with api.database.write() as db:
        values = {"desired_state": desired, "status": status}
        if state is State.PURGED:
            values["purged"] = utc_now()
        db.execute(update(Tenant).where(Tenant.name == name).values(**values))
        db.commit()
    method, path = CALLS[event]
    answer = root.http.request(method, f"/tenants/{tenant_id}{path}")
    after = TRANSITIONS[state].get(event)
    if state is State.PURGED:
        assert answer.status_code == 404
    elif after is None:
        assert answer.status_code == 409
        assert answer.json()["detail"] == REFUSALS[state, event].format(name=f"acme/{name}")
        assert state_of(api.tenant(tenant_id).desired_state, api.tenant(tenant_id).status) is state
    else:
        assert answer.status_code == 200
        tenant = api.tenant(tenant_id)
        assert state_of(tenant.desired_state, tenant.status) is after
        assert (tenant.purge_after is None) is (after is not State.DELETING)
        operation = root.http.get(f"/operations/{answer.headers['Nagaya-Operation']}").json()
        assert operation["kind"] == event.value
        earlier = root.http.get(f"/operations/{made.headers['Nagaya-Operation']}").json()
        assert earlier["status"] == "cancelled"
