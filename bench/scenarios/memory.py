"""Private memory of a tenant after four calls, and the whole platform's share with 30 tenants awake."""

import uuid

from bench.context import Context, Row
from bench.plain import PlainServer
from bench.statistics import summarize
from harness.processes import smaps
from harness.wire import Caller

CALLS = ("/api/v1/info", "/api/v1/stacks", "/api/v1/projects", "/api/v1/current-user")
TENANTS = 30


def run(context: Context) -> list[Row]:
    """Wakes 30 tenants, makes four calls to each, and reads the kernel's accounts."""
    platform = context.platform
    admin = platform.sign_in()
    names = [f"memory-{index}" for index in range(TENANTS - 1)]
    for name in names:
        platform.create_tenant(name, admin, protected=False, hibernate=False)
    names.append(platform.tenant or "staging")
    for name in names:
        token = platform.tenant_token(name, admin)
        caller = platform.tenant_caller(name, token)
        for path in CALLS:
            caller.expect("GET", path)
        caller.close()
    states = {state["tenant"]: state for state in platform.keeper("list") if state["pid"]}
    private = [smaps(states[name]["pid"])["Uss"] / 1024 for name in names]
    total = sum(smaps(pid)["Pss"] for pids in platform.groups().values() for pid in pids) / 1024

    server = PlainServer(context.engine_python, context.directory / f"plain-{uuid.uuid4().hex[:8]}")
    server.start()
    try:
        caller = Caller(server.address, server.login())
        for path in CALLS:
            caller.expect("GET", path)
        plain = smaps(server.pid)["Uss"] / 1024
        caller.close()
    finally:
        server.stop()

    api = platform.api(admin)
    for name in names[:-1]:
        tenant = api.expect("GET", f"/tenants/{platform.organization}%2F{name}").json()
        api.expect("DELETE", f"/tenants/{tenant['id']}", 200)
    api.close()
    summary = summarize(private)
    return [
        Row(
            "private memory after four calls",
            "MB",
            summary.median,
            "≤ 38 MB",
            summary.median <= 38,
            None,
            {"nagaya": summary},
            f"plain server: {plain:.0f} MB",
        ),
        Row("30 tenants awake, whole platform", "MB PSS", total, "≤ 1600 MB", total <= 1600),
    ]
