"""The tenant's `/openapi.json`, asked for while the tenant sleeps."""

from bench.context import Context, Row
from bench.statistics import summarize


def run(context: Context) -> list[Row]:
    """Puts the tenant to sleep and asks for the document, again and again."""
    platform = context.platform
    tenant = platform.tenant or "staging"
    token = platform.tenant_token(tenant, platform.sign_in())
    identity = next(state["id"] for state in platform.keeper("list") if state["tenant"] == tenant)
    values: list[float] = []
    for _ in range(context.blocks * 2):
        platform.keeper("sleep", id=identity)
        caller = platform.tenant_caller(tenant, token)
        values.append(caller.timed("GET", "/openapi.json"))
        caller.close()
    summary = summarize(values)
    row = Row(
        "cold /openapi.json, p50", "ms", summary.median, "≤ 300 ms", summary.median <= 300, None, {"nagaya": summary}
    )
    return [row]
