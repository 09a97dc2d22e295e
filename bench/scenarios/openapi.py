"""The tenant's `/openapi.json`, asked for while the tenant sleeps."""

from bench.context import Context, Row
from bench.scenarios.wake import asked_asleep


def run(context: Context) -> list[Row]:
    """Asks a sleeping tenant for the document."""
    summary = asked_asleep(context, "/openapi.json", context.blocks * 2)
    row = Row(
        "cold /openapi.json, p50", "ms", summary.median, "≤ 300 ms", summary.median <= 300, None, {"nagaya": summary}
    )
    return [row]
