"""1,000 tenants registered and 100 awake: restarts, idle processor time, lists, memory, all woken, none lost."""

import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.context import Row, show
from bench.statistics import Summary, summarize
from harness.place import open_directory
from harness.platform import Platform
from harness.processes import processor_seconds, smaps
from harness.wire import wait_until_answered
from nagaya.runtime.config import default_run_dir
from nagaya.supervisor.record import SupervisorRecord
from proofs.invariants import heal_time
from proofs.registering import register

SERVICES = ("api", "gateway", "keeper")
CREATORS = 4


@dataclass(frozen=True)
class Size:
    """How much is done."""

    registered: int
    created: int
    """How many of them through `POST /tenants`; the rest is registered in bulk, with the same service functions."""
    awake: int
    settle: float
    """Seconds without a request before the idle processor time is measured."""
    idle: float
    """Seconds over which it is measured."""
    requests: int


FULL = Size(registered=1000, created=100, awake=100, settle=20, idle=60, requests=300)
SMOKE = Size(registered=60, created=4, awake=6, settle=1, idle=3, requests=50)


class Proof:
    """One run on one platform."""

    def __init__(self, platform: Platform, size: Size, generator: random.Random) -> None:
        self.platform, self.size, self.generator = platform, size, generator
        self.admin = platform.sign_in()
        self.rows: list[Row] = []
        self.names: list[str] = []
        self.tokens: dict[str, str] = {}

    def note(self, name: str, unit: str, value: float, most: float | None = None, **more: object) -> None:
        """Prints a figure; one with a bar is missed above it."""
        series = more.get("series")
        row = Row(
            name,
            unit,
            value,
            f"≤ {most:g}" if most is not None else "–",
            most is None or value <= most,
            None,
            {"": series} if isinstance(series, Summary) else {},
            str(more.get("note", "")),
        )
        self.rows.append(row)
        show([row])

    def everything(self) -> None:
        """Runs all parts in order."""
        self.create()
        self.register()
        self.wake_for_the_first_time()
        self.memory()
        self.idle()
        self.list()
        self.restart_services()
        self.restart()
        self.storm()
        self.nothing_is_lost()

    # Registered ---------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Creates tenants through the API, several at once, and puts them to sleep."""
        first, *names = [f"made-{index}" for index in range(self.size.created)]
        # The engine is loaded when the first tenant needs it; that is not what is measured.
        made = [self.platform.create_tenant(first, self.admin, protected=False)]
        self.platform.wait_available(made[0]["id"], self.admin, deadline=120)
        started = time.perf_counter()
        with ThreadPoolExecutor(CREATORS) as pool:
            made += pool.map(lambda name: self.platform.create_tenant(name, self.admin, protected=False), names)
        for each in made:
            self.platform.wait_available(each["id"], self.admin)
        rate = len(names) / (time.perf_counter() - started)
        self.note("tenants created by POST /tenants, each started", "1/s", rate, note=f"{CREATORS} at once")
        for each in made:
            self.platform.keeper("sleep", id=each["id"])
        self.names += [first, *names]

    def register(self) -> None:
        """Registers the rest, and waits until the keeper knows them all with their policies."""
        names = [f"kept-{index}" for index in range(self.size.registered - self.size.created)]
        assert self.platform.organization is not None
        started = time.perf_counter()
        register(self.platform.data_dir / "run" / "config.json", self.platform.organization, names)
        self.names += names
        while sum(state["policy_version"] is not None for state in self.platform.keeper("list")) < len(self.names):
            assert time.perf_counter() - started < 300, "the keeper was not told of all tenants"
            time.sleep(1)  # Seldom: the answer is long, and making it is work for what is measured.
        seconds = time.perf_counter() - started
        self.note(f"{len(names)} tenants registered, keeper and policies included", "s", seconds)

    # Awake --------------------------------------------------------------------------------------------------------

    def chosen(self) -> list[str]:
        """The tenants that are awake: half of them created, half of them registered."""
        return sorted(self.tokens) or sorted(
            self.names[: self.size.awake // 2] + self.generator.sample(self.names[self.size.created :], self._rest())
        )

    def _rest(self) -> int:
        return self.size.awake - self.size.awake // 2

    def at_once(self, names: list[str], ask: Callable[[str], float]) -> tuple[float, Summary]:
        """Asks many tenants at once; returns the seconds until the last answer, and the single ones in ms."""
        started = time.perf_counter()
        with ThreadPoolExecutor(len(names)) as pool:
            single = list(pool.map(ask, names))
        return time.perf_counter() - started, summarize(single)

    def sign_in(self, name: str) -> float:
        """Signs in at a tenant, which wakes it; returns milliseconds."""
        started = time.perf_counter()
        self.tokens[name] = self.platform.tenant_token(name, self.admin)
        return (time.perf_counter() - started) * 1000

    def ask(self, name: str) -> float:
        """Asks a tenant for its stacks; returns milliseconds."""
        caller = self.platform.tenant_caller(name, self.tokens[name])
        try:
            return caller.timed("GET", "/api/v1/stacks")
        finally:
            caller.close()

    def wake_for_the_first_time(self) -> None:
        """Wakes the chosen ones by signing in at all of them at once, and leaves a mark in each."""
        names = self.chosen()
        seconds, single = self.at_once(names, self.sign_in)
        self.note(f"{len(names)} first sign-ins at once", "s", seconds, series=single)
        for name in names:
            caller = self.platform.tenant_caller(name, self.tokens[name])
            caller.expect("POST", "/api/v1/tags", body={"name": f"mark-of-{name}", "color": "red"})
            caller.close()
        awake = sum(state["state"] == "awake" for state in self.platform.keeper("list"))
        assert awake == len(names), f"{awake} tenants are awake"

    def memory(self) -> None:
        """Reads what the kernel accounts to the tenants and to everything together."""
        groups = self.platform.groups()
        private = summarize([smaps(pid)["Uss"] / 1024 for pid in groups["tenants"]])
        self.note("private memory of an awake tenant, p50", "MB", private.median, 38, series=private)
        shares = {name: sum(smaps(pid)["Pss"] for pid in pids) / 1024 for name, pids in groups.items()}
        note = ", ".join(f"{name} {value:.0f}" for name, value in shares.items())
        self.note(f"whole platform, {len(groups['tenants'])} tenants awake", "MB PSS", sum(shares.values()), note=note)

    def idle(self) -> None:
        """Adds up the processor time of every process while nobody asks anything."""
        self.platform.close_callers()
        time.sleep(self.size.settle)
        groups = self.platform.groups()
        started, before = time.perf_counter(), _processor_time(groups)
        time.sleep(self.size.idle)
        used, seconds = _processor_time(groups), time.perf_counter() - started
        shares = {name: (used[name] - before[name]) / seconds * 100 for name in groups}
        note = ", ".join(f"{name} {value:.2f}" for name, value in shares.items())
        name = f"idle processor time, {len(groups['tenants'])} tenants awake"
        self.note(name, "% core", sum(shares.values()), 5, note=note)

    def list(self) -> None:
        """Lists tenants through the gateway, a page as the API gives it, and all of them."""
        caller = self.platform.api(self.admin)
        page = summarize([caller.timed("GET", "/tenants") for _ in range(self.size.requests)])
        self.note("GET /tenants, p95", "ms", page.p95, 100, series=page)
        whole = summarize(
            [caller.timed("GET", "/tenants?limit=1000") for _ in range(max(10, self.size.requests // 10))]
        )
        self.note("GET /tenants?limit=1000, p95", "ms", whole.p95, series=whole)
        caller.close()

    # Restarts -----------------------------------------------------------------------------------------------------

    def restart_services(self) -> None:
        """Kills api, gateway and keeper at once; the tenants go on in the same processes."""
        before = {state["tenant"]: state["pid"] for state in self.platform.keeper("list") if state["pid"]}
        pids = self.platform.process_ids()
        self.platform.close_callers()
        for name in SERVICES:
            os.kill(pids[name], signal.SIGKILL)
        started = time.perf_counter()
        self._answers()
        caller = self.platform.tenant_caller(name := next(iter(before)), self.tokens[name])
        wait_until_answered(caller, "/api/v1/stacks", deadline=60)
        caller.close()
        seconds = time.perf_counter() - started
        after = {state["tenant"]: state["pid"] for state in self.platform.keeper("list") if state["pid"]}
        assert before == after, "tenants were restarted together with the services"
        name = "api, gateway and keeper killed; ready, lists and a tenant answers"
        self.note(name, "s", seconds, 5, note=self._spent())

    def restart(self) -> None:
        """Stops and starts the whole platform."""
        started = time.perf_counter()
        self.platform.stop()
        self.note(f"`nagaya down`, {len(self.tokens)} tenants awake", "s", time.perf_counter() - started)
        started = time.perf_counter()
        with ThreadPoolExecutor(1) as pool:
            command = pool.submit(self.platform.start)
            self._answers()
            seconds, spent = time.perf_counter() - started, self._spent()
            self.note("`nagaya up`; ready and lists", "s", seconds, 5, note=spent)
            self.ask(self.chosen()[0])
            self.note("`nagaya up`; the first tenant answers", "s", time.perf_counter() - started)
            command.result()

    def _spent(self) -> str:
        """The processor time that the services have needed so far, which other work on the machine changes little."""
        record = SupervisorRecord.read(default_run_dir(self.platform.data_dir))
        assert record is not None
        pids = {name: item.identity.pid for name, item in record.services.items() if item.identity}
        shares = ", ".join(f"{name} {processor_seconds(pid):.1f}" for name, pid in pids.items())
        return f"processor seconds: {shares}; load {os.getloadavg()[0]:.1f}"

    def _answers(self) -> None:
        self.platform.wait_ready()
        caller = self.platform.api(self.admin)
        wait_until_answered(caller, "/tenants", deadline=60)
        caller.close()

    def storm(self) -> None:
        """Asks the sleeping ones all at once; each must answer."""
        for state in self.platform.keeper("list"):
            if state["pid"]:
                self.platform.keeper("sleep", id=state["id"])
        seconds, single = self.at_once(self.chosen(), self.ask)
        self.note(f"{len(self.tokens)} sleeping tenants asked at once, all answered", "s", seconds, series=single)

    def nothing_is_lost(self) -> None:
        """Every tenant is there, every mark too, and all records agree with what runs."""
        heal_time(self.platform, self.admin)
        caller = self.platform.api(self.admin)
        listed = {tenant["name"] for tenant in caller.expect("GET", "/tenants?limit=1000").json()}
        caller.close()
        assert listed == set(self.names), f"missing: {set(self.names) - listed}, unknown: {listed - set(self.names)}"
        for name, token in self.tokens.items():
            tenant = self.platform.tenant_caller(name, token)
            found = tenant.expect("GET", f"/api/v1/tags?name=mark-of-{name}").json()["total"]
            tenant.close()
            assert found == 1, f"{name} has lost its mark"
        print(f"nothing is lost: {len(listed)} tenants, {len(self.tokens)} marks", flush=True)


def _processor_time(groups: dict[str, list[int]]) -> dict[str, float]:
    return {name: sum(processor_seconds(pid) for pid in pids) for name, pids in groups.items()}


def run(*, smoke: bool, seed: int) -> int:
    """Runs the proof and prints a line per figure.

    Args:
        smoke: Few tenants and short waits; then the figures are only shown, and what counts is that nothing is lost.
        seed: Seed of the choice of tenants.

    Returns:
        1 if a bar was missed.
    """
    with open_directory("scale") as directory, Platform(directory / "data", tenant=None) as platform:
        proof = Proof(platform, SMOKE if smoke else FULL, random.Random(seed))
        proof.everything()
    return 0 if smoke or all(row.met for row in proof.rows) else 1
