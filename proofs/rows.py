"""10,000 tenants and 100,000 memberships as rows: lists, search and explanations over HTTP, on both databases."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import random
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import uvicorn

from bench.statistics import Summary, summarize
from harness.postgres import PostgresMissing, PostgresServer
from harness.rows import Filled, Size, fill
from nagaya.app import create_app
from nagaya.app_state import create_state
from nagaya.http.logs import configure
from nagaya.http.settings import ApiSettings
from nagaya.http.state import AppState
from nagaya.identity.tokens import PLATFORM_AUDIENCE
from nagaya.runtime.local.client import LocalRuntime
from nagaya.tenants.assembly import install

PUBLIC_URL = "http://127.0.0.1:8440"
BAR_MILLISECONDS = 150.0
REQUESTS, SMOKE_REQUESTS = 200, 8
SMOKE_SIZE = Size(organizations=20, users=500, tenants=1_000, memberships=10_000, audit_events=2_000)
WARM_UP = 5


@dataclass(frozen=True)
class Question:
    """One kind of request, asked again and again with other values."""

    name: str
    paths: list[str]
    bound: bool = True
    """Whether the bar is for it; a page of 1,000 is a megabyte that takes its time to be written."""


@contextlib.contextmanager
def serving(state: AppState) -> Iterator[int]:
    """Serves the real application, with its background work, on a port that it yields."""
    # With the protocol named asyncio switches Nagle's algorithm off, which would add 40 ms to every answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    started, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        control = install(state, LocalRuntime(state.settings.data_dir / "nobody.sock"), default_engine="0.98.0")
        server = uvicorn.Server(uvicorn.Config(create_app(state), log_config=None, access_log=False))
        async with control.running():
            task = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event.
                await asyncio.sleep(0.01)
            started.set()
            await asyncio.to_thread(stop.wait)
            server.should_exit = True
            await task

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    if not started.wait(30):
        raise RuntimeError("the application did not start")
    try:
        yield int(listener.getsockname()[1])
    finally:
        stop.set()
        thread.join(30)


def questions(filled: Filled, who: str, dice: random.Random, count: int) -> list[Question]:
    """Returns what is asked by one principal: what stock clients, the pages and the command line send."""
    home, tenants = filled.homes[0], filled.homes[0].tenants
    principal = {"superuser": filled.superuser, "administrator": filled.administrator, "member": filled.member}[who]
    asked = [principal if who == "member" else dice.choice(home.members) for _ in range(count)]

    def listing(**query: object) -> str:
        return f"/tenants?{urlencode({'offset': 0, 'limit': 20, **query})}"

    def access(kind: str, number: int, **query: object) -> str:
        given = {"principal_id": asked[number], "tenant": dice.choice(tenants), **query}
        return f"/access/{kind}?{urlencode(given)}"

    actions = ("read", "create", "update", "delete")
    return [
        Question(
            "list, as the stock client", [listing(member_only=dice.choice(("True", "False"))) for _ in range(count)]
        ),
        Question(
            "list, by name",
            [listing(workspace_name=f"{home.name}/tenant-{dice.randrange(len(tenants))}") for _ in range(count)],
        ),
        Question(
            "list, by address",
            [listing(url=f"{PUBLIC_URL}/t/{home.name}/tenant-{dice.randrange(len(tenants))}") for _ in range(count)],
        ),
        Question(
            "list, 100 of a later page", [f"/tenants?offset={dice.randrange(9) * 100}&limit=100" for _ in range(count)]
        ),
        Question("list, the longest page (1,000)", ["/tenants?limit=1000"] * max(count // 4, WARM_UP), bound=False),
        Question(
            "list, by stage and label",
            [listing(stage="staging", label=f"team=team-{dice.randrange(20)}") for _ in range(count)],
        ),
        Question("search", [listing(search=f"kind {dice.randrange(1000)} for") for _ in range(count)]),
        Question("search without a hit", [listing(search=f"nothing-{dice.randrange(1000)}") for _ in range(count)]),
        Question("organizations", ["/organizations?limit=100"] * count),
        Question(
            "explain", [access("explain", n, action=dice.choice(actions), resource="stack") for n in range(count)]
        ),
        Question("effective", [access("effective", n) for n in range(count)]),
    ]


def ask(port: int, token: str, question: Question) -> tuple[Summary, set[int]]:
    """Sends the requests of a question one after the other; returns milliseconds and the statuses that came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    taken, statuses = [], set()
    for path in question.paths[:WARM_UP] + question.paths:
        begin = time.perf_counter()
        connection.request("GET", f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        answer.read()
        taken.append((time.perf_counter() - begin) * 1000)
        statuses.add(answer.status)
    connection.close()
    return summarize(taken[WARM_UP:]), statuses


def measure(kind: str, url: str | None, *, smoke: bool, seed: int) -> list[str]:
    """Fills one database and asks everything as everybody; returns what was not as it must be."""
    failures = []
    size, count = (SMOKE_SIZE, SMOKE_REQUESTS) if smoke else (Size(), REQUESTS)
    with tempfile.TemporaryDirectory(prefix="nagaya-rows-") as directory:
        state = create_state(ApiSettings(data_dir=Path(directory), public_url=PUBLIC_URL, database_url=url))
        begin = time.monotonic()
        filled = fill(state.database, size, seed)
        print(
            f"{kind}: {size.tenants:,} tenants, {size.memberships:,} memberships, {size.organizations} organizations, "
            f"{size.users:,} users written in {time.monotonic() - begin:.1f} s",
            flush=True,
        )
        people = {"superuser": filled.superuser, "administrator": filled.administrator, "member": filled.member}
        with serving(state) as port:
            for who, principal in people.items():
                token = state.tokens.issue(
                    "session",
                    principal,
                    audience=PLATFORM_AUDIENCE,
                    seconds=3600,
                    session_id=filled.sessions[principal],
                )
                for question in questions(filled, who, random.Random(seed), count):
                    summary, statuses = ask(port, token, question)
                    late = summary.p95 > BAR_MILLISECONDS and question.bound and not smoke
                    print(
                        f"{kind:<10} {who:<13} {question.name:<31} p50 {summary.median:6.1f} ms  "
                        f"p95 {summary.p95:6.1f} ms  max {summary.maximum:6.1f} ms{'  TOO SLOW' if late else ''}",
                        flush=True,
                    )
                    if late or not statuses <= {200, 403, 404}:
                        failures.append(f"{kind}, {who}, {question.name}: p95 {summary.p95:.1f} ms, {sorted(statuses)}")
        state.database.close()
    return failures


def run(*, smoke: bool, seed: int, database: str = "both") -> int:
    """Measures on the databases that are asked for; 0 if everything was answered in time.

    Args:
        smoke: A tenth of the rows, fewer requests; then the figures are only shown, and what counts is the answers.
        seed: Of everything that is random.
        database: `sqlite`, `postgresql` or `both`.
    """
    configure("ERROR")
    failures = []
    if database in {"sqlite", "both"}:
        failures += measure("sqlite", None, smoke=smoke, seed=seed)
    if database in {"postgresql", "both"}:
        try:
            # A server as it is installed: what it does for durability costs nothing while it only reads.
            with PostgresServer() as server:
                failures += measure("postgresql", server.url(server.create()), smoke=smoke, seed=seed)
        except PostgresMissing as missing:
            print(f"not measured on PostgreSQL: {missing}")
            if database == "postgresql":
                failures.append(str(missing))
    for failure in failures:
        print(f"failed: {failure}")
    print("failed" if failures else f"passed: every p95 is at most {BAR_MILLISECONDS:.0f} ms (the longest page aside)")
    return 1 if failures else 0
