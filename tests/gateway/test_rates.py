"""Rate limits: what passes, what a refusal says, whose requests count together, and that memory stays bounded."""

from typing import Any

import pytest

from nagaya.rates import Buckets, Refused, address_key
from tests.gateway.harness import AUTH, run, token, world

PROXIED: dict[str, Any] = {"trusted_proxies": ("127.0.0.0/8",)}


class Clock:
    """Time that only a test moves."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def test_a_burst_passes_and_then_the_rate() -> None:
    clock = Clock()
    buckets = Buckets(2, 10, clock)
    assert [buckets.take("a") for _ in range(10)] == [None] * 10
    refused = buckets.take("a")
    assert refused == Refused(10, 1, 5)
    assert dict(refused.headers()) == {"RateLimit-Limit": "10", "RateLimit-Remaining": "0", "RateLimit-Reset": "5"}
    assert buckets.take("b") is None
    clock.time += 1
    assert [buckets.take("a") is None for _ in range(3)] == [True, True, False]
    clock.time += 60
    assert [buckets.take("a") is None for _ in range(11)] == [True] * 10 + [False]


def test_slow_rates_say_how_long() -> None:
    clock = Clock()
    buckets = Buckets(1 / 60, 1, clock)
    assert buckets.take("a") is None
    assert buckets.take("a") == Refused(1, 60, 60)
    clock.time += 59.5
    assert buckets.take("a") == Refused(1, 1, 1)
    clock.time += 0.5
    assert buckets.take("a") is None


def test_a_refusal_costs_nothing_and_zero_is_no_limit() -> None:
    clock = Clock()
    buckets = Buckets(1, 1, clock)
    buckets.take("a")
    for _ in range(100):
        assert buckets.take("a") is not None
    clock.time += 1
    assert buckets.take("a") is None
    assert all(Buckets(0, 1, clock).take("a") is None for _ in range(100))


def test_memory_is_bounded_and_the_busiest_are_remembered() -> None:
    buckets = Buckets(1, 2, Clock(), remembered=100)
    for number in range(10_000):
        buckets.take(number)
        buckets.take("busy") if number % 50 == 0 and number < 100 else None
    assert len(buckets) == 100


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("203.0.113.7", "203.0.113.7"), ("::ffff:203.0.113.7", "203.0.113.7"), ("127.0.0.1", None), ("::1", None),
        ("::ffff:127.0.0.1", None), ("unix", None), ("2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002"),
        ("2001:db8:1:2:ffff::1", "2001:0db8:0001:0002"), ("2001:db8:1:3::1", "2001:0db8:0001:0003"),
    ],
)  # fmt: skip
def test_what_counts_as_one_address(address: str, key: str | None) -> None:
    assert address_key(address) == key


def test_an_address_is_limited_over_all_its_connections_and_others_are_not() -> None:
    async def test() -> None:
        async with world(**PROXIED, address_rate=0.01, address_burst=3) as w:
            mine, other = ("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-For", "203.0.113.8")
            for path in ("/api/v1/x", "/t/acme/one/x", "/login"):
                assert (await w.ask("GET", path, AUTH, mine)).status == 200
            reply = await w.ask("GET", "/api/v1/x", mine, ("X-Request-ID", "abc"))
            assert reply.status == 429
            assert reply.json() == {
                "error": "TooManyRequests",
                "detail": "Too many requests from this address; try again in 100 seconds.",
                "fields": None,
                "request_id": "abc",
            }
            assert reply.get("retry-after") == "100"
            assert (reply.get("ratelimit-limit"), reply.get("ratelimit-remaining")) == ("3", "0")
            assert int(reply.get("ratelimit-reset") or 0) in range(298, 301)
            reply = await w.ask("GET", "/t/acme/one/x", AUTH, mine)
            assert reply.json()["detail"][0] == "TooManyRequests"
            page = await w.ask("GET", "/t/acme/one/x", mine, ("Accept", "text/html"))
            assert (page.status, page.get("content-type")) == (429, "text/html; charset=utf-8")
            assert (await w.ask("GET", "/api/v1/x", other)).status == 200
            # Whoever watches the platform must not be locked out with everybody else.
            assert (await w.ask("GET", "/health", mine)).status == 200

    run(test)


def test_this_machine_is_not_limited_by_address() -> None:
    async def test() -> None:
        async with world(address_rate=0.01, address_burst=1) as w:
            for _ in range(5):
                assert (await w.ask("GET", "/api/v1/x")).status == 200

    run(test)


def test_a_credential_is_limited_at_tenants_from_wherever_it_comes() -> None:
    async def test() -> None:
        async with world(**PROXIED, credential_rate=0.5, credential_burst=2) as w:
            for number in range(2):
                reply = await w.ask("GET", "/t/acme/one/x", AUTH, ("X-Forwarded-For", f"203.0.113.{number}"))
                assert reply.status == 200
            reply = await w.ask("GET", "/t/acme/one/x", AUTH, ("X-Forwarded-For", "203.0.113.9"))
            assert reply.status == 429
            assert reply.error() == (
                "TooManyRequests",
                "Too many requests with this credential; try again in 2 seconds.",
            )
            assert (await w.ask("GET", "/t/acme/one/x", ("Authorization", f"Bearer {token(60)}"))).status == 200
            # The api counts principals, which it knows.
            for _ in range(5):
                assert (await w.ask("GET", "/api/v1/x", AUTH)).status == 200

    run(test)
