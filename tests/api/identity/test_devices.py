"""The device authorization grant, state by state (RFC 8628)."""

import uuid

import pytest

from tests.api.world import Settled, World

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
AGENT = "Host/laptop ZenML/0.98.0 Python/3.11.4 OS/Linux"
CLIENT = str(uuid.uuid4())


def start(world: World) -> dict[str, object]:
    answer = world.call("POST", "/auth/device_authorization", data={"client_id": CLIENT}, headers={"User-Agent": AGENT})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body: dict[str, object] = answer.json()
    return body


def poll(world: World, code: object, client: str = CLIENT) -> tuple[int, dict[str, object]]:
    answer = world.call("POST", "/auth/login", data={"grant_type": GRANT, "client_id": client, "device_code": code})
    body = answer.json()
    if answer.status_code == 400:
        # The stock client builds an object from this body and fails on any other member.
        assert set(body) == {"error", "error_description"}
    return answer.status_code, body


def approve(settled: Settled, code: object) -> dict[str, object]:
    body = {"user_code": code, "tenant_id": settled.tenant["id"]}
    made: dict[str, object] = settled.world.made("PUT", "/devices/verify", settled.admin, json=body)
    return made


def test_the_start_tells_the_client_everything_it_needs(world: World) -> None:
    body = start(world)
    assert body["expires_in"] == 600
    assert body["interval"] == 5
    assert body["verification_uri"] == "http://nagaya.test/devices/verify"
    assert body["verification_uri_complete"] == f"http://nagaya.test/devices/verify?user_code={body['user_code']}"
    code = str(body["user_code"])
    assert len(code) == 9
    assert code[4] == "-"
    assert set(code) <= set("BCDFGHJKLMNPQRSTVWXZ-")


def test_the_codes_are_not_stored(world: World) -> None:
    body = start(world)
    world.state.database.close()
    stored = b"".join(path.read_bytes() for path in world.state.settings.data_dir.glob("control/control.db*"))
    assert str(body["device_code"]).encode() not in stored
    assert str(body["user_code"]).encode() not in stored
    assert str(body["user_code"]).replace("-", "").encode() not in stored


def test_approval_gives_a_token_once_with_the_chosen_tenant(settled: Settled) -> None:
    world = settled.world
    begun = start(world)
    assert poll(world, begun["device_code"])[1]["error"] == "authorization_pending"
    device = approve(settled, str(begun["user_code"]).lower().replace("-", " "))
    assert device["hostname"] == "laptop"
    assert (device["zenml_version"], device["python_version"], device["system"]) == ("0.98.0", "3.11.4", "Linux")
    world.clock.forward(5)
    status, token = poll(world, begun["device_code"])
    assert status == 200
    assert token["expires_in"] == 86_400
    assert token["device_metadata"]["tenant_id"] == settled.tenant["id"]  # type: ignore[index]
    assert token["device_id"] == device["id"]
    me = world.call("GET", "/users/me", headers={"Authorization": f"Bearer {token['access_token']}"})
    assert me.json()["username"] == "ada"
    world.clock.forward(5)
    assert poll(world, begun["device_code"]) == (
        400,
        {
            "error": "invalid_grant",
            "error_description": "The device code is unknown, was used, or belongs to another client.",
        },
    )


def test_impatient_clients_must_slow_down_by_five_seconds_each_time(settled: Settled) -> None:
    world = settled.world
    begun = start(world)
    errors = []
    for wait in (0, 1, 9, 10, 14.9, 15, 15):
        world.clock.forward(wait)
        errors.append(poll(world, begun["device_code"])[1]["error"])
    pending, slow = "authorization_pending", "slow_down"
    assert errors == [pending, slow, slow, slow, slow, slow, slow]
    world.clock.forward(35)
    assert poll(world, begun["device_code"])[1]["error"] == pending


def test_denial_and_expiry_are_told_apart(settled: Settled) -> None:
    world = settled.world
    denied, late = start(world), start(world)
    world.made("PUT", "/devices/verify", settled.admin, json={"user_code": denied["user_code"], "approve": False})
    assert poll(world, denied["device_code"])[1]["error"] == "access_denied"
    world.clock.forward(601)
    assert poll(world, late["device_code"])[1]["error"] == "expired_token"
    body = {"user_code": late["user_code"], "tenant_id": settled.tenant["id"]}
    assert world.call("PUT", "/devices/verify", world_admin(settled), json=body).status_code == 404


def world_admin(settled: Settled):  # type: ignore[no-untyped-def]  # A person whose session has not ended meanwhile.
    return settled.world.again(settled.admin)


def test_a_code_works_for_the_client_that_got_it_only(settled: Settled) -> None:
    begun = start(settled.world)
    approve(settled, begun["user_code"])
    assert poll(settled.world, begun["device_code"], str(uuid.uuid4()))[1]["error"] == "invalid_grant"
    assert poll(settled.world, begun["device_code"])[0] == 200


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": GRANT}, "invalid_request"),
        ({"grant_type": GRANT, "client_id": "me", "device_code": "x"}, "invalid_request"),
        ({"grant_type": GRANT, "client_id": CLIENT}, "invalid_request"),
        ({"grant_type": GRANT, "client_id": CLIENT, "device_code": "x"}, "invalid_grant"),
        ({"grant_type": "refresh_token"}, "unsupported_grant_type"),
        ({}, "invalid_request"),
    ],
)
def test_malformed_requests_get_the_codes_of_the_standard(world: World, form: dict[str, str], error: str) -> None:
    answer = world.call("POST", "/auth/login", data=form)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "error_description"}
    assert answer.json()["error"] == error


def test_only_tenants_that_one_may_enter_can_be_chosen(settled: Settled) -> None:
    begun = start(settled.world)
    body = {"user_code": begun["user_code"], "tenant_id": settled.tenant["id"]}
    assert settled.world.call("PUT", "/devices/verify", settled.stranger, json=body).status_code == 404
    without = {"user_code": begun["user_code"]}
    assert settled.world.call("PUT", "/devices/verify", settled.admin, json=without).status_code == 422
    assert poll(settled.world, begun["device_code"])[1]["error"] == "authorization_pending"


def test_a_deactivated_person_gets_no_token_for_an_earlier_approval(settled: Settled) -> None:
    begun = start(settled.world)
    approve(settled, begun["user_code"])
    settled.world.made("PATCH", f"/users/{settled.admin.id}", settled.root, json={"is_active": False})
    assert poll(settled.world, begun["device_code"])[1]["error"] == "access_denied"


def test_guessing_codes_is_bounded(settled: Settled) -> None:
    world = settled.world
    begun = start(world)
    statuses = [world.call("GET", f"/devices/BBBB-BBB{letter}", settled.admin).status_code for letter in "BCDFGHJ"]
    assert statuses == [404] * 5 + [429] * 2
    refused = world.call("GET", f"/devices/{begun['user_code']}", settled.admin)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) <= 601
    world.clock.forward(601)
    fresh = start(world)
    assert world.made("GET", f"/devices/{fresh['user_code']}", settled.admin)["status"] == "pending"


def test_removing_a_device_ends_its_sessions(settled: Settled) -> None:
    world = settled.world
    begun = start(world)
    device = approve(settled, begun["user_code"])
    token = poll(world, begun["device_code"])[1]["access_token"]
    auth = {"Authorization": f"Bearer {token}"}
    assert world.call("GET", "/users/me", headers=auth).status_code == 200
    assert world.call("DELETE", f"/devices/{device['id']}", settled.stranger).status_code == 404
    assert world.made("GET", "/devices", settled.admin)[0]["id"] == device["id"]
    world.made("DELETE", f"/devices/{device['id']}", settled.admin)
    assert world.call("GET", "/users/me", headers=auth).status_code == 401


def test_one_address_cannot_fill_the_database_with_requests(world: World) -> None:
    def begin(address: str = "192.0.2.9") -> int:
        headers = {"X-Forwarded-For": address}
        status: int = world.call(
            "POST", "/auth/device_authorization", data={"client_id": CLIENT}, headers=headers
        ).status_code
        return status

    assert {begin() for _ in range(100)} == {200}
    assert begin() == 429
    assert begin("192.0.2.10") == 200
    world.clock.forward(601)
    assert begin() == 200


def test_wrong_client_secrets_are_recorded_up_to_a_bound(world: World) -> None:
    body = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": "x"}
    answers = {world.call("POST", "/auth/login", data=body).status_code for _ in range(55)}
    assert answers == {401}
    assert len(world.events("server.login")) == 50
