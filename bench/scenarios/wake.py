"""Wake on request: a sleeping tenant's first authenticated 200 through the gateway."""

from bench.context import Context, Row
from bench.statistics import Summary, summarize

PER_BLOCK = 5


def asked_asleep(context: Context, path: str, times: int) -> Summary:
    """Puts the tenant to sleep and asks it, again and again.

    Args:
        context: The platform.
        path: What to ask the tenant for.
        times: How often.

    Returns:
        Milliseconds until the answer.
    """
    platform = context.platform
    tenant = platform.tenant or "staging"
    token = platform.tenant_token(tenant, platform.sign_in())
    identity = next(state["id"] for state in platform.keeper("list") if state["tenant"] == tenant)
    values: list[float] = []
    for _ in range(times):
        platform.keeper("sleep", id=identity)
        caller = platform.tenant_caller(tenant, token)
        values.append(caller.timed("GET", path))
        caller.close()
    return summarize(values)


def run(context: Context) -> list[Row]:
    """Asks for the stacks of a sleeping tenant."""
    summary = asked_asleep(context, "/api/v1/stacks", context.blocks * PER_BLOCK)
    series = {"nagaya": summary}
    return [
        Row("wake on request, p50", "ms", summary.median, "≤ 220 ms", summary.median <= 220, None, series),
        Row("wake on request, p95", "ms", summary.p95, "≤ 400 ms", summary.p95 <= 400),
    ]
