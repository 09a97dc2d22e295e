"""From `POST /tenants` to the first authenticated 200 through the gateway, beside a plain server."""

import time

from bench.context import Context, Row
from bench.plain import time_to_first_answer
from bench.statistics import ratio_of_medians, summarize_blocks
from harness.wire import wait_until_answered

PER_BLOCK = 5


def one(context: Context, token: str, name: str) -> float:
    """Creates one tenant; returns milliseconds until its first authenticated answer, and deletes it."""
    platform = context.platform
    caller = platform.api(token)
    organization = caller.expect("GET", f"/organizations/{platform.organization}").json()["id"]
    tenant = platform.tenant_caller(name)
    started = time.perf_counter()
    body = {"name": name, "organization_id": organization, "protected": False}
    created = caller.expect("POST", "/tenants", 201, body=body).json()
    login = tenant.expect("POST", "/api/v1/login", form={"grant_type": "zenml-external"}, token=token)
    tenant.expect("GET", "/api/v1/stacks", token=login.json()["access_token"])
    elapsed = (time.perf_counter() - started) * 1000
    caller.expect("DELETE", f"/tenants/{created['id']}", 200)
    caller.close()
    tenant.close()
    return elapsed


def run(context: Context) -> list[Row]:
    """Measures interleaved blocks of creations and plain starts."""
    token = context.platform.sign_in()
    wait_until_answered(context.platform.api(token), "/users/me", deadline=30)
    ours: list[list[float]] = []
    plain: list[list[float]] = []
    for block in range(context.blocks):
        ours.append([one(context, token, f"create-{block}-{index}") for index in range(PER_BLOCK)])
        plain.append([time_to_first_answer(context.engine_python, context.directory)])
    series = {"nagaya": summarize_blocks(ours), "plain": summarize_blocks(plain)}
    ratio = ratio_of_medians(plain, ours)
    median = series["nagaya"].median
    return [
        Row("create, p50", "ms", median, "≤ 300 ms", median <= 300, None, series),
        Row("create, times faster than plain", "×", ratio.value, "≥ 30", ratio.value >= 30, ratio),
    ]
