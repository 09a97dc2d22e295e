"""What generators do not come upon: broken encodings, absurd numbers, deep nesting, smuggled headers.

Each is sent to every operation that could be hurt by it, and answered with a documented 4xx (or by an empty success).
"""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

import pytest

from tests.api.routes import Operation, operations
from tests.fuzz.conftest import Stage, fuzzer

JSON = {"Content-Type": "application/json"}
DEEP = 50_000
BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "invalid UTF-8": (b'{"name": "\xff\xfe"}', JSON),
    "an overlong encoding": (b'{"name": "\xc0\x80"}', JSON),
    "a lone surrogate": (b'{"name": "\\ud800", "username": "\\udfff", "description": "\\ud800"}', JSON),
    "a lone surrogate as a key": (b'{"\\ud800": 1}', JSON),
    "NUL": (b'{"name": "a\\u0000b", "description": "\\u0000", "email": "a\\u0000@b.c"}', JSON),
    "deep lists": (b"[" * DEEP + b"]" * DEEP, JSON),
    "deep objects": (b'{"name":' * DEEP + b"1" + b"}" * DEEP, JSON),
    "deep in a field": (b'{"name": ' + b"[" * DEEP + b"]" * DEEP + b"}", JSON),
    "a number of 10,000 digits": (
        b'{"name": ' + b"9" * 10_000 + b', "expires_in_minutes": 1' + b"0" * 5000 + b"}",
        JSON,
    ),
    "numbers that JSON does not have": (b'{"name": NaN, "expires": Infinity, "idle_minutes": -Infinity}', JSON),
    "an exponent without end": (b'{"expires_in_minutes": 1e999999, "idle_minutes": 1e400}', JSON),
    "the same key twice": (b'{"name": "abc", "name": null}', JSON),
    "UTF-16": ('{"name": "abc"}'.encode("utf-16"), JSON),
    "a byte order mark": (b"\xef\xbb\xbf{}", JSON),
    "only white space": (b" \n\t ", JSON),
    "JSON that ends early": (b'{"name": "ab', JSON),
    "two documents": (b"{}{}", JSON),
    "a form": (b"name=abc&roles=x", {"Content-Type": "application/x-www-form-urlencoded"}),
    "a multipart form without a boundary": (b"--x\r\n\r\n", {"Content-Type": "multipart/form-data"}),
    "a broken multipart form": (b"--x\r\nnonsense", {"Content-Type": "multipart/form-data; boundary=x"}),
    "a file in a form": (
        b'--x\r\nContent-Disposition: form-data; name="username"; filename="u"\r\n\r\nada\r\n--x--\r\n',
        {"Content-Type": "multipart/form-data; boundary=x"},
    ),
    "an unknown charset": (b'{"name": "abc"}', {"Content-Type": "application/json; charset=nonsense"}),
    "an unknown charset of a form": (b"username=a", {"Content-Type": "application/x-www-form-urlencoded; charset=x"}),
    "an invalid escape in a form": (
        b"username=%ff%fe&password=%00",
        {"Content-Type": "application/x-www-form-urlencoded"},
    ),
    "thousands of fields": (
        b"&".join(b"a%d=1" % n for n in range(3000)),
        {"Content-Type": "application/x-www-form-urlencoded"},
    ),
    "a compressed body": (b"\x1f\x8b\x08\x00nonsense", {**JSON, "Content-Encoding": "gzip"}),
    "a type that is no type": (b"{}", {"Content-Type": "\x01;;;=,"}),
}
TEXTS = {
    "NUL": "%00",
    "invalid UTF-8": "%ff%fe",
    "an encoded surrogate": "%ed%a0%80",
    "line ends and a header": "a%0d%0aX-Injected:%20yes",
    "a number of 4,500 digits": "9" * 4500,
    "more than 64 bits": "18446744073709551617",
    "a negative number": "-1",
    "a quote": "%27%22%60%3b--",
    "wildcards": "%25%5f%2a",
    "a path": "..%2f..%2fetc%2fpasswd",
    "a bidirectional override": "%e2%80%ae",
    "white space": "%20%0b%0c%c2%85",
    "a very long text": "x" * 3000,
    "a date that is none": "9999-99-99T99:99:99Z",
    "the last date": "9999-12-31T23:59:59-23:59",
}
HEADERS = {
    "X-Request-ID": "a b\tc",
    "X-Forwarded-For": "'; drop table users, 999.999.999.999, " + "1" * 3000,
    "User-Agent": "Host/\xff ZenML/" + "9" * 4000,
    "Accept": "text/html;q=x, */*;q=99999999999999999999",
    "Accept-Language": "*" * 3000,
    "Idempotency-Key": "\x01" * 300,
    "If-Match": '"x',
    "Source-Context": "?" * 3000,
    "Range": "bytes=-1--1",
    "Cookie": 'nagaya="; x=\xfe; nagaya=' + "a" * 5000,
    "zenml-server-version": "not.a.version",
    "zenml-server-url": "javascript:alert(1)",
    "zenml-server-id": "\x7f",
}


def documented(operation: Operation, status: int) -> bool:
    """Whether the description knows this status of the operation."""
    return str(status) in operation.description["responses"]


def check(operation: Operation, answer: Any, what: str) -> None:
    """Fails unless the answer is documented, ours, and no success that echoes something malformed."""
    assert answer.status_code < 500, (operation.id, what, answer.text)
    assert documented(operation, answer.status_code), (operation.id, what, answer.status_code, answer.text[:300])
    assert "x-injected" not in answer.headers, (operation.id, what)
    if answer.status_code >= 400:
        body = json.loads(answer.content)
        assert "error" in body, (operation.id, what, body)
        assert "\x00" not in answer.text
        assert len(answer.content) < 20_000, (operation.id, what)


@pytest.fixture
def every(stage: Stage) -> list[Operation]:
    """All operations of the application."""
    assert len(fuzzer().labels) >= 90
    return operations(stage.world.app)


class Callers:
    """Credentials for operations of people and of servers, made anew when a request may have ended them.

    Args:
        stage: The world.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.person = stage.credentials(0, server=False)
        self.server = stage.credentials(0, server=True)

    def of(self, operation: Operation) -> dict[str, str]:
        """Headers for an operation."""
        return self.server if operation.security == ("server",) else self.person

    def renew(self, operation: Operation, status: int) -> None:
        """Makes new ones after a change."""
        if operation.writes and status < 300:
            self.person = self.stage.credentials(0, server=False)


@pytest.mark.parametrize("what", BODIES)
def test_hostile_bodies(stage: Stage, every: list[Operation], what: str) -> None:
    content, headers = BODIES[what]
    callers = Callers(stage)
    for operation in every:
        if "requestBody" not in operation.description:
            continue
        answer = stage.world.client.request(
            operation.method.upper(),
            operation.address(stage.settled),
            content=content,
            headers=headers | callers.of(operation),
        )
        check(operation, answer, what)
        callers.renew(operation, answer.status_code)


@pytest.mark.parametrize("what", TEXTS)
def test_hostile_parameters(stage: Stage, every: list[Operation], what: str) -> None:
    text = TEXTS[what]
    callers = Callers(stage)
    for operation in every:
        path = operation.path
        described = operation.description.get("parameters", [])
        in_path = [each["name"] for each in described if each["in"] == "path"]
        query = "&".join(f"{each['name']}={text}" for each in described if each["in"] == "query")
        for name in in_path:
            path = path.replace(f"{{{name}}}", text)
        for address in {f"{path}?{query}", f"{operation.address(stage.settled).partition('?')[0]}?{query}"}:
            answer = stage.world.client.request(
                operation.method.upper() if operation.id != "follow_operation" else "GET",
                address,
                headers=callers.of(operation),
            )
            # An encoded slash makes another path of it, which may exist for other methods.
            if "%2f" in text and answer.status_code in (404, 405):
                continue
            check(operation, answer, what)
            callers.renew(operation, answer.status_code)


def test_hostile_headers(stage: Stage, every: list[Operation]) -> None:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in HEADERS.items()]
    callers = Callers(stage)
    for operation in every:
        credentials = callers.of(operation).items()
        answer = stage.world.client.request(
            operation.method.upper(),
            operation.address(stage.settled),
            headers=[*headers, *((name.encode(), value.encode()) for name, value in credentials)],
        )
        check(operation, answer, "headers")
        callers.renew(operation, answer.status_code)
        assert answer.headers["x-request-id"] != HEADERS["X-Request-ID"]


def test_unknown_methods_and_paths_are_answered_in_the_envelope(stage: Stage, every: list[Operation]) -> None:
    paths = {operation.address(stage.settled).partition("?")[0] for operation in every}
    for path in sorted(paths):
        for method in ("TRACE", "PROPFIND", "QUERY", "X" * 200):
            answer = stage.world.client.request(method, path)
            assert answer.status_code == 405, (method, path)
            assert answer.json()["error"] == "MethodNotAllowed"
        below = stage.world.client.get(f"{path}/%00/{urllib.parse.quote('nothing')}")
        assert below.status_code in (401, 404, 405, 422), (path, below.status_code)
