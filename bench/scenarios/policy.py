"""A list as a non-admin: policy in the process, no access control at all, and ZenML's own HTTP access control."""

import json
import sqlite3
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import OctKey

from bench.context import Context, Row
from bench.plain import JWT_SECRET, PlainServer
from bench.statistics import ratio_of_medians, summarize_blocks
from harness.platform import Platform
from harness.wire import Address, Caller, wait_until_answered

PER_BLOCK = 30
PATH = "/api/v1/stacks?hydrate=true"
PASSWORD = "an ordinary afternoon"


class AllowEverything(BaseHTTPRequestHandler):
    """The other end of ZenML's HTTP access control that answers at once; only the distance is measured."""

    protocol_version = "HTTP/1.1"
    # One packet per answer: two would wait for each other by Nagle's algorithm, and flatter us.
    wbufsize = -1
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/auth/login"):
            result: object = {"access_token": "t", "expires_in": 86400}
        elif self.path.startswith("/rbac/allowed_resource_ids"):
            result = {"full_access": True, "ids": []}
        elif self.path.startswith("/rbac/check_permissions"):
            result = dict.fromkeys(json.loads(body), True)
        else:
            result = {}
        data = json.dumps(result).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - names fixed by the standard library

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - signature of the base class
        """Writes nothing."""


def plain_token(database: Path, user: str) -> str:
    """Returns a token that a plain server accepts for a user of its database."""
    with sqlite3.connect(database) as connection:
        server = uuid.UUID(connection.execute("SELECT id FROM server_settings").fetchone()[0])
        (found,) = connection.execute("SELECT id FROM user WHERE name = ?", (user,)).fetchone()
    claims = {"sub": str(uuid.UUID(found)), "iss": str(server), "aud": str(server), "iat": time.time()}
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(JWT_SECRET))


def developer(platform: Platform, admin: str) -> tuple[str, str]:
    """Creates a non-admin member of the benchmark's tenant; returns username and tenant token."""
    name = f"dev-{uuid.uuid4().hex[:8]}"
    caller = platform.api(admin)
    fields = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    user = caller.expect("POST", "/users", 201, body=fields).json()["id"]
    organization = platform.organization
    member = {"user": user}
    caller.expect("POST", f"/organizations/{organization}/members", 201, body=member)
    tenant = caller.expect("GET", f"/tenants/{organization}%2F{platform.tenant}").json()["id"]
    caller.expect("POST", f"/tenants/{tenant}/members", 201, body={"user": user, "roles": ["tenant_developer"]})
    caller.close()
    token = platform.tenant_token(platform.tenant or "", platform.sign_in(f"{name}@example.com", PASSWORD))
    return name, token


def cloud(port: int, database: Path) -> dict[str, str]:
    """Returns the environment of a plain server in cloud mode whose control plane listens on `port`."""
    with sqlite3.connect(database) as connection:
        server = str(uuid.UUID(connection.execute("SELECT id FROM server_settings").fetchone()[0]))
    pro = "ZENML_SERVER_PRO_"
    return {
        "ZENML_SERVER_DEPLOYMENT_TYPE": "cloud",
        f"{pro}API_URL": f"http://127.0.0.1:{port}",
        f"{pro}DASHBOARD_URL": f"http://127.0.0.1:{port}",
        f"{pro}OAUTH2_CLIENT_SECRET": "s",
        f"{pro}OAUTH2_AUDIENCE": "a",
        f"{pro}ORGANIZATION_ID": str(uuid.uuid4()),
        f"{pro}WORKSPACE_ID": server,
        f"{pro}WORKSPACE_NAME": "bench",
    }


def run(context: Context) -> list[Row]:
    """Interleaves the same list on three servers that hold the same data."""
    platform = context.platform
    admin = platform.sign_in()
    name, token = developer(platform, admin)
    state = next(state for state in platform.keeper("list") if state["tenant"] == platform.tenant)
    platform.keeper("sleep", id=state["id"])
    source = platform.data_dir / "tenants" / state["id"] / "zenml.db"
    control = ThreadingHTTPServer(("127.0.0.1", 0), AllowEverything)
    threading.Thread(target=control.serve_forever, daemon=True).start()
    open_server = PlainServer(context.engine_python, context.directory / "no-rbac", database=source)
    http_server = PlainServer(
        context.engine_python,
        context.directory / "http-rbac",
        database=source,
        environment=cloud(control.server_address[1], source),
    )
    callers: dict[str, Caller] = {}
    try:
        for server, label in ((open_server, "no access control"), (http_server, "stock HTTP access control")):
            server.start()
            callers[label] = Caller(server.address, plain_token(server.directory / "zenml.db", name))
            wait_until_answered(callers[label], PATH, deadline=120)
        platform.tenant_caller(platform.tenant or "", token).expect("GET", PATH)
        state = platform.keeper("get", id=state["id"])
        callers["in-process policy"] = Caller(Address(socket=state["socket"]), token)
        for caller in callers.values():
            # A plain server closes an idle connection after five seconds, which the other servers' starts take.
            caller.close()
            for _ in range(30):
                caller.expect("GET", PATH)
        values: dict[str, list[list[float]]] = {label: [] for label in callers}
        for _ in range(context.blocks):
            for label, caller in callers.items():
                caller.close()
                caller.expect("GET", PATH)
                values[label].append([caller.timed("GET", PATH) for _ in range(PER_BLOCK)])
    finally:
        for caller in callers.values():
            caller.close()
        open_server.stop()
        http_server.stop()
        control.shutdown()
    series = {label: summarize_blocks(blocks) for label, blocks in values.items()}
    ours = ratio_of_medians(values["in-process policy"], values["no access control"])
    stock = ratio_of_medians(values["stock HTTP access control"], values["no access control"])
    return [
        Row("list as non-admin, in-process policy / none", "×", ours.value, "≤ 1.10", ours.value <= 1.10, ours, series),
        Row("list as non-admin, stock HTTP / none", "×", stock.value, "shown", True, stock),
    ]
