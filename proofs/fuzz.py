"""Generated requests: the Cloud API at length, and two tenants through the gateway beside a plain ZenML server.

Each request that Schemathesis makes from ZenML's own description goes to tenant A and to a plain server of the same
version. What a tenant answers wrongly (by ZenML's description) and the plain server does not, fails the proof; so does
an answer other than 401 to the same request with a token of tenant B, and any trace of B's data in an answer of A.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemathesis import Case

from bench.plain import PlainServer
from harness.fuzzing import Answered, Finding, Fuzzer, Sent, judge
from harness.place import open_directory
from harness.platform import ROOT, Platform
from proofs.sides import MARK, Side, seed_side

EXAMPLES, API_EXAMPLES = 16, 150
SMOKE_OPERATIONS, SMOKE_EXAMPLES = 70, 4
FORBIDDEN = frozenset(
    {
        # These end the session that everything is sent with, or the person's right to be there.
        "GET /api/v1/logout",
        "PUT /api/v1/users/{user_name_or_id}/deactivate",
        "DELETE /api/v1/users/{user_name_or_id}",
        "PUT /api/v1/current-user",
        "POST /api/v1/login",
        # Waits for a device that nobody will approve.
        "POST /api/v1/device_authorization",
    }
)
"""Operations that are left out, each for a reason."""
EXPLAINED = (
    # ZenML itself in cloud mode, where no project is the default one.
    "Project scope missing from the filter",
    # Routes that tenants do not have, for reasons that `nagaya_tenant.routes` states; ZenML documents 403 for most.
    "Service accounts and API keys are made by the organization in the control plane",
    "Devices are authorized by the control plane",
    "Resource pools are not part of open-source ZenML",
    # The guard looks up what is to be tagged before it allows that; ZenML tags what does not exist.
    "There is no ",
)
"""Sentences of answers that differ from a plain server's on purpose, beside the reason."""
REFUSED_UNSEEN = ("The address contains control characters.",)
"""What a tenant's guard says to everybody before it looks who asks."""
Sides = tuple[Side, Side, Side]
"""Tenant A, the plain server, and tenant A with a token of tenant B."""


@dataclass
class Tally:
    """What was sent and found.

    Args:
        ours: Findings of tenant A.
        plain: Findings of the plain server.
        statuses: How often each pair of statuses came, tenant first.
        leaks: Sentences about data of tenant B.
        strangers: Requests with B's token that were not refused.
    """

    ours: dict[Finding, str] = field(default_factory=dict)
    plain: dict[Finding, str] = field(default_factory=dict)
    statuses: Counter[tuple[int, int]] = field(default_factory=Counter)
    leaks: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    requests: int = 0

    def only_ours(self) -> dict[Finding, str]:
        """What the plain server does not have, by operation and kind; the status may differ."""
        known = {(finding.operation, finding.kind) for finding in self.plain}
        return {each: text for each, text in self.ours.items() if (each.operation, each.kind) not in known}


def exchange(tally: Tally, case: Case[Any], sent: Sent, sides: Sides, *, public: bool) -> None:
    """Sends one request to both sides and, as B, to tenant A."""
    ours, plain, stranger = sides
    tally.requests += 1
    answers: list[Answered] = []
    for side, findings in ((ours, tally.ours), (plain, tally.plain)):
        answered = side.send(sent)
        answers.append(answered)
        for finding in judge(case, sent, answered):
            if answered.status >= 500 or not says(answered, EXPLAINED):
                findings.setdefault(finding, finding.detail)
    tally.statuses[answers[0].status, answers[1].status] += 1
    foreign = stranger.send(sent)
    for answered in (answers[0], foreign):
        if MARK.encode() in answered.body or any(each.encode() in answered.body for each in stranger.own):
            tally.leaks.append(f"{sent.method} {sent.target[:200]}: {answered.body[:300]!r}")
    if foreign.status != 401 and not public and not says(foreign, REFUSED_UNSEEN):
        tally.strangers.append(f"{sent.method} {sent.target[:200]}: {foreign.status} {foreign.body[:200]!r}")


def says(answered: Answered, sentences: tuple[str, ...]) -> bool:
    """Whether an answer holds one of these sentences."""
    return any(sentence.encode() in answered.body for sentence in sentences)


def compare(sides: Sides, labels: list[str], fuzzer: Fuzzer, examples: int, seed: int) -> Tally:
    """Generates requests of these operations and sends them to all sides."""
    tally = Tally()
    for label in labels:
        public = not fuzzer.secured(label)

        def each(case: Case[Any], sent: Sent, public: bool = public) -> None:
            exchange(tally, case, sent, sides, public=public)

        fuzzer.run(label, examples, seed, each)
    return tally


def report(tally: Tally, seconds: float) -> int:
    """Prints the findings; returns 1 if any is only ours."""
    print(f"{tally.requests} requests to each side in {seconds:.0f} s; statuses (tenant, plain server), most frequent:")
    for pair, count in tally.statuses.most_common(12):
        print(f"  {pair[0]} {pair[1]}: {count}")
    print(f"findings: tenant {len(tally.ours)}, plain server {len(tally.plain)}")
    bad = tally.only_ours()
    for finding, text in sorted(bad.items()):
        print(f"only here: {finding.kind} {finding.status}: {text}")
    for text in tally.strangers[:20]:
        print(f"tenant B was not refused: {text}")
    for text in tally.leaks[:20]:
        print(f"tenant B's data: {text}")
    print(f"only here {len(bad)}, not refused {len(tally.strangers)}, leaks {len(tally.leaks)}")
    return 1 if bad or tally.strangers or tally.leaks else 0


def two_tenants(*, smoke: bool, seed: int) -> int:
    """Runs the comparison; returns 0 if nothing is only ours."""
    engine = Path(os.environ.get("NAGAYA_ENGINES_DIR", str(ROOT / ".engines"))) / "0.98.0" / "bin" / "python"
    with open_directory("fuzz") as directory:
        server = PlainServer(engine, directory / "plain")
        server.start()
        try:
            with Platform(directory / "data") as platform:
                sides = prepare(platform, server)
                document = sides[1].caller.expect("GET", "/openapi.json").json()
                offered = sides[0].caller.expect("GET", "/openapi.json").json()["paths"]
                fuzzer = Fuzzer(document, sides[0].known())
                labels = [each for each in fuzzer.labels if each not in FORBIDDEN and is_offered(each, offered)]
                if smoke:
                    labels = sorted(random.Random(seed).sample(labels, SMOKE_OPERATIONS))
                print(f"{len(labels)} operations", flush=True)
                started = time.monotonic()
                tally = compare(sides, labels, fuzzer, SMOKE_EXAMPLES if smoke else EXAMPLES, seed)
                return report(tally, time.monotonic() - started)
        finally:
            server.stop()


def is_offered(label: str, paths: dict[str, Any]) -> bool:
    """Whether a tenant has the operation as well: ZenML itself leaves some out in cloud mode."""
    method, _, path = label.partition(" ")
    return method.lower() in paths.get(path, {})


def prepare(platform: Platform, server: PlainServer) -> Sides:
    """Fills both tenants and the plain server with the same things; returns tenant A, the server, and B's view of A."""
    admin = platform.sign_in()
    platform.wait_available(platform.create_tenant("other", admin)["id"], admin)
    address = platform.tenant_caller("staging").address
    ours = Side.signed_in(address, platform.tenant_token("staging", admin))
    plain = Side.signed_in(server.address, server.login())
    foreign = platform.tenant_token("other", admin)
    b = Side.signed_in(platform.tenant_caller("other").address, foreign)
    seed_side(ours, "shared")
    seed_side(plain, "shared")
    seed_side(b, MARK)
    # The same ids of A, since they are no secrets, and B's token.
    stranger = Side(caller=Side.signed_in(address, foreign).caller, own=b.ids_not_of(ours), ids=ours.ids)
    return ours, plain, stranger


def cloud_api(seed: int) -> int:
    """Runs the tests of the Cloud API with more requests of another seed."""
    print("the Cloud API:", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "--timeout=3000", "tests/fuzz"]
    environment = {**os.environ, "NAGAYA_FUZZ_EXAMPLES": str(API_EXAMPLES), "NAGAYA_FUZZ_SEED": str(seed)}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def run(*, smoke: bool, seed: int) -> int:
    """Runs the proof.

    Args:
        smoke: Only a sample of the tenants' operations; the Cloud API is in the tests anyway.
        seed: Seed of what is generated.
    """
    found = two_tenants(smoke=smoke, seed=seed)
    return found if smoke else max(found, cloud_api(seed))
