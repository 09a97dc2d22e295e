"""The rate limit of principals at the API: over all their credentials, and told in the headers."""

import time
from pathlib import Path

from tests.api.world import World


def test_a_principal_is_limited_over_all_credentials_and_others_are_not(tmp_path: Path) -> None:
    world = World(tmp_path, principal_rate=0.01, principal_burst=3)
    try:
        ada, bob = world.user("ada"), world.user("bob")
        again = world.again(ada)
        began = time.monotonic()
        for person in (ada, again, ada):
            assert world.client.get("/api/v1/users/me", headers=person.auth).status_code == 200
        refused = world.client.get("/api/v1/organizations", headers=again.auth)
        assert refused.status_code == 429
        body = refused.json()
        seconds = refused.headers["retry-after"]
        assert (body["error"], body["detail"]) == (
            "TooManyRequests",
            f"Too many requests of this account; try again in {seconds} s.",
        )
        # The account's share grew while the requests were answered.
        assert 0 <= 100 - int(seconds) < time.monotonic() - began + 1
        assert (refused.headers["ratelimit-limit"], refused.headers["ratelimit-remaining"]) == ("3", "0")
        assert world.client.get("/api/v1/users/me", headers=bob.auth).status_code == 200
    finally:
        world.close()


def test_refused_guesses_say_their_limit(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        form = {"username": "nobody", "password": "wrong"}
        answers = [world.client.post("/api/v1/auth/login", data=form) for _ in range(6)]
        assert [each.status_code for each in answers] == [401] * 5 + [429]
        assert answers[-1].headers["ratelimit-limit"] == "5"
        assert answers[-1].headers["ratelimit-reset"] == answers[-1].headers["retry-after"] == "300"
    finally:
        world.close()
