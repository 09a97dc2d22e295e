"""The gateway against the tenant's own socket, for an authenticated list."""

from bench.context import Context, Row
from bench.statistics import ratio_of_medians, summarize_blocks
from harness.wire import Address, Caller

PER_BLOCK = 40
PATH = "/api/v1/stacks?hydrate=true"


def run(context: Context) -> list[Row]:
    """Interleaves blocks of the same request through both doors."""
    platform = context.platform
    tenant = platform.tenant or "staging"
    token = platform.tenant_token(tenant, platform.sign_in())
    through = platform.tenant_caller(tenant, token)
    through.expect("GET", PATH)
    state = next(state for state in platform.keeper("list") if state["tenant"] == tenant)
    direct = Caller(Address(socket=state["socket"]), token)
    for _ in range(30):
        direct.expect("GET", PATH)
        through.expect("GET", PATH)
    by_gateway: list[list[float]] = []
    by_socket: list[list[float]] = []
    for _ in range(context.blocks):
        by_gateway.append([through.timed("GET", PATH) for _ in range(PER_BLOCK)])
        by_socket.append([direct.timed("GET", PATH) for _ in range(PER_BLOCK)])
    ratio = ratio_of_medians(by_gateway, by_socket)
    series = {"gateway": summarize_blocks(by_gateway), "socket": summarize_blocks(by_socket)}
    through.close()
    direct.close()
    return [Row("gateway / direct socket, list", "×", ratio.value, "≤ 1.10", ratio.value <= 1.10, ratio, series)]
