"""Generated requests to every operation: no server error, nothing undocumented, no ignored credentials.

What Schemathesis generates goes to the real application over a real database. Operations are taken from the
application's own description, so new ones are tested as soon as they exist.
"""

from __future__ import annotations

from typing import Any

from schemathesis import Case

from harness.fuzzing import Sent, judge
from tests.api.routes import PUBLIC
from tests.fuzz.conftest import EXAMPLES, SEED, Stage, fuzzer

BEFORE_CREDENTIALS = {400, 413, 422}
"""What a request that cannot even be parsed is answered with, before anybody asks who sends it."""


def identifier(case: Case[Any]) -> str:
    """The operation's id in the description."""
    return str(case.operation.definition.raw["operationId"])


def of_servers(case: Case[Any]) -> bool:
    """Whether the operation is for ZenML servers, which have tokens of their own."""
    return any("server" in each for each in case.operation.definition.raw.get("security", []))


def test_generated_requests_find_nothing(stage: Stage, label: str) -> None:
    count = 0
    found = []

    def each(case: Case[Any], sent: Sent) -> None:
        nonlocal count
        count += 1
        found.extend(judge(case, sent, stage.send(sent, stage.credentials(count, server=of_servers(case)))))

    fuzzer().run(label, EXAMPLES, SEED, each)
    assert count
    assert not found, "\n".join(sorted({finding.detail for finding in found}))


def test_no_credentials_are_ignored(stage: Stage, label: str) -> None:
    ended = "Bearer " + "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhZGEifQ." + "A" * 86
    before = stage.world.audited()
    protected = False

    def each(case: Case[Any], sent: Sent) -> None:
        nonlocal protected
        protected = identifier(case) not in PUBLIC
        if not protected:
            return
        for headers in ({}, {"Authorization": ended}):
            answered = stage.send(without_cookies(sent), headers)
            malformed = answered.status in BEFORE_CREDENTIALS and sent.body
            assert answered.status == 401 or malformed, (sent, headers, answered)

    fuzzer().run(label, max(4, EXAMPLES // 4), SEED + 1, each)
    assert not protected or stage.world.audited() == before


def without_cookies(sent: Sent) -> Sent:
    """The request without cookies: a generated one is garbage, and garbage counts as none."""
    headers = {name: value for name, value in sent.headers.items() if name.lower() != "cookie"}
    return Sent(sent.method, sent.target, headers, sent.body)
