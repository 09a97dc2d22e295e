"""Wake on request: a sleeping tenant's first authenticated 200 through the gateway."""

from bench.context import Context, Row
from bench.statistics import summarize

PER_BLOCK = 5


def run(context: Context) -> list[Row]:
    """Puts the tenant to sleep and asks it, again and again."""
    platform = context.platform
    tenant = platform.tenant or "staging"
    token = platform.tenant_token(tenant, platform.sign_in())
    identity = next(state["id"] for state in platform.keeper("list") if state["tenant"] == tenant)
    values: list[float] = []
    for _ in range(context.blocks * PER_BLOCK):
        platform.keeper("sleep", id=identity)
        caller = platform.tenant_caller(tenant, token)
        values.append(caller.timed("GET", "/api/v1/stacks"))
        caller.close()
    summary = summarize(values)
    series = {"nagaya": summary}
    return [
        Row("wake on request, p50", "ms", summary.median, "≤ 220 ms", summary.median <= 220, None, series),
        Row("wake on request, p95", "ms", summary.p95, "≤ 400 ms", summary.p95 <= 400),
    ]
