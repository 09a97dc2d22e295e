"""Platforms for tests of the command line: one that keeps everything in memory, and others that misbehave."""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]
PASSWORD, KEY, TOKEN = "correct horse battery", "ZENPROKEY_test", "token-1"
NOW = "2026-11-23T10:00:00+00:00"


class Answer(Exception):
    """The answer to a request."""

    def __init__(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers or {}


def error(status: int, code: str, detail: str, fields: Json | None = None) -> Answer:
    """An answer in the API's error envelope."""
    return Answer(status, {"error": code, "detail": detail, "fields": fields, "request_id": "req-1"})


NEW_KEY: Json = {
    "enrollment_key": "second",
    "environment": {"ZENML_SERVER_PRO_OAUTH2_CLIENT_SECRET": "second"},
}


class MemoryPlatform:
    """The routes that the command line calls, with their bodies and headers as the API has them."""

    def __init__(self) -> None:
        self.url = ""
        self.organizations: list[Json] = []
        self.members: dict[str, list[Json]] = {}
        self.tenants: list[Json] = []
        self.operations: dict[str, Json] = {}
        self.keys: list[Json] = []
        self.service_accounts: list[Json] = []
        self.users: list[Json] = []
        self.tenant_members: list[Json] = []
        self.requests: list[tuple[str, str, Any]] = []
        self.device_answers: list[str] = []
        self.failing_operations = False
        self.polls_before_end = 1
        self.tokens = {TOKEN}
        self.page_limit = 1000
        self.log = ["one", "two"]

    def organization(self, name: str) -> Json:
        """Adds an organization."""
        made = {"id": str(uuid.uuid4()), "name": name, "display_name": name.title(), "created": NOW, "description": ""}
        self.organizations.append(made)
        self.members[made["id"]] = [
            {"id": "u1", "kind": "user", "username": "ada", "email": "ada@example.com", "name": "Ada",
             "roles": [{"role": "organization_admin"}]},
        ]  # fmt: skip
        return made

    def tenant(self, home: Json, name: str, status: str = "available", **fields: Any) -> Json:
        """Adds a tenant."""
        url = f"{self.url}/t/{home['name']}/{name}"
        made = {
            "id": str(uuid.uuid4()), "name": name, "display_name": name, "organization": home, "status": status,
            "state_reason": "", "desired_state": "available", "activity": "asleep", "url": url, "labels": {},
            "dashboard_url": f"{self.url}/o/{home['name']}/t/{name}", "protected": True,
            "zenml_service": {"configuration": {"version": "0.98.0"}, "status": {"server_url": url, "version": None}},
            "stage": None, "hibernate": True, "idle_seconds": 900, "created": NOW, "updated": NOW, **fields,
        }  # fmt: skip
        self.tenants.append(made)
        return made

    def operate(self, tenant: Json, kind: str, then: str) -> Answer:
        """Starts an operation that ends after some polls and leaves the tenant in a state."""
        operation = {
            "id": str(uuid.uuid4()), "kind": kind, "status": "running", "tenant_id": tenant["id"], "created": NOW,
            "phases": [{"name": "write_specification", "status": "running", "started": NOW, "finished": None}],
            "error": None, "failures": 0, "polls": 0, "then": then,
        }  # fmt: skip
        self.operations[operation["id"]] = operation
        return Answer(200, tenant, {"Nagaya-Operation": operation["id"]})

    def advance(self, operation: Json) -> Json:
        """One poll of an operation."""
        operation["polls"] += 1
        if operation["status"] == "running" and operation["polls"] > self.polls_before_end:
            ended = "failed" if self.failing_operations else "succeeded"
            operation["status"] = ended
            operation["error"] = "the disk is full" if self.failing_operations else None
            later = "2026-11-23T10:00:01.500000+00:00"
            operation["phases"][0] |= {"status": ended, "finished": later, "message": operation["error"]}
            tenant = next(t for t in self.tenants if t["id"] == operation["tenant_id"])
            tenant["status"] = "failed" if self.failing_operations else operation["then"]
        return operation

    def authenticate(self, headers: Any) -> None:
        """Refuses requests without a good token."""
        if headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            raise error(401, "NotAuthenticated", "Sign in first: no valid credentials were sent.")

    def handle(self, method: str, path: str, query: Json, body: Any, headers: Any) -> Answer:
        """Finds and runs the route."""
        self.requests.append((method, path, body))
        if not path.startswith("/auth/"):
            self.authenticate(headers)
        for pattern, verb, route in self.routes():
            match = re.fullmatch(pattern, path)
            if match and re.fullmatch(verb, method):
                return route(*match.groups(), query=query, body=body)
        raise error(404, "NotFound", f"There is nothing at {path}.")

    def routes(self) -> list[tuple[str, str, Callable[..., Answer]]]:
        """Pattern, method and handler of each route."""
        return [
            ("/auth/login", "POST", self.login),
            ("/auth/logout", "POST", lambda **_: Answer(204)),
            ("/auth/device_authorization", "POST", self.authorize_device),
            ("/users/me", "GET", lambda **_: Answer(200, {"id": "u1", "username": "ada", "email": "ada@example.com"})),
            ("/organizations", "GET", lambda query, **_: self.page(self.organizations, query)),
            ("/organizations", "POST", lambda body, **_: Answer(201, self.organization(body["name"]))),
            ("/organizations/([^/]+)", "GET", lambda name, **_: Answer(200, self.find(self.organizations, name))),
            ("/organizations/([^/]+)", "DELETE", self.delete_organization),
            ("/organizations/([^/]+)/members", "GET", lambda home, query, **_: self.page(self.members[home], query)),
            ("/organizations/([^/]+)/members", "POST", self.add_member),
            ("/organizations/([^/]+)/members/([^/]+)", "DELETE", lambda *_, **__: Answer(204)),
            ("/organizations/([^/]+)/service_accounts", "GET", self.list_service_accounts),
            ("/organizations/([^/]+)/service_accounts", "POST", self.create_service_account),
            ("/organizations/[^/]+/service_accounts/([^/]+)", "DELETE", lambda *_, **__: Answer(204)),
            ("/organizations/[^/]+/service_accounts/([^/]+)/api_keys", "GET", self.list_keys),
            ("/organizations/[^/]+/service_accounts/[^/]+/api_keys", "POST", self.create_key),
            ("/organizations/[^/]+/service_accounts/[^/]+/api_keys/([^/]+)", "DELETE", self.delete_key),
            ("/users", "GET", lambda query, **_: self.page(self.users, query)),
            ("/users", "POST", self.create_user),
            ("/users/([^/]+)", "PATCH", self.patch_user),
            ("/tenants", "GET", self.list_tenants),
            ("/tenants", "POST", self.create_tenant),
            ("/tenants/([^/]+)", "GET", lambda name, **_: Answer(200, self.find(self.tenants, name))),
            ("/tenants/([^/]+)", "PATCH", self.patch_tenant),
            ("/tenants/([^/]+)", "DELETE", self.delete_tenant),
            ("/tenants/([^/]+)/(deploy|deactivate|restore)", "(PATCH|POST)", self.act),
            ("/tenants/([^/]+)/logs", "GET", self.read_logs),
            ("/tenants/[^/]+/enrollment_key", "POST", lambda *_, **__: Answer(201, NEW_KEY)),
            ("/tenants/[^/]+/members", "GET", lambda query, **_: self.page(self.tenant_members, query)),
            ("/tenants/[^/]+/members", "POST", self.add_tenant_member),
            ("/tenants/[^/]+/members/([^/]+)", "DELETE", lambda *_, **__: Answer(204)),
            ("/operations", "GET", lambda query, **_: self.page(list(self.operations.values()), query)),
            ("/operations/([^/]+)", "GET", self.read_operation),
            ("/users/(me)/api_keys", "GET", self.list_keys),
            ("/users/me/api_keys", "POST", self.create_key),
            ("/users/me/api_keys/([^/]+)", "DELETE", self.delete_key),
        ]  # fmt: skip

    def list_service_accounts(self, _home: str, query: Json, **_: Any) -> Answer:
        """All of them belong to every organization."""
        return self.page(self.service_accounts, query)

    def add_tenant_member(self, body: Json, **_: Any) -> Answer:
        """Takes everybody."""
        roles = [{"role": role} for role in body["roles"]]
        made = {"id": str(uuid.uuid4()), "kind": "user", "username": body["user"], "email": None, "roles": roles}
        self.tenant_members.append(made)
        return Answer(201, made)

    def create_service_account(self, _home: str, body: Json, **_: Any) -> Answer:
        """Makes one."""
        made = {"id": str(uuid.uuid4()), "name": body["name"], "description": body["description"], "is_active": True}
        self.service_accounts.append(made)
        return Answer(201, made)

    def create_user(self, body: Json, **_: Any) -> Answer:
        """Makes one, without a password."""
        name = body["email"].partition("@")[0]
        made = {"id": str(uuid.uuid4()), "username": name, "name": "", "is_superuser": False, "is_active": True, **body}
        self.users.append(made)
        return Answer(201, {**made, "password_link": f"{self.url}/setup?token=once"})

    def patch_user(self, name: str, body: Json, **_: Any) -> Answer:
        """Changes one."""
        found = self.find(self.users, name)
        found.update(body)
        return Answer(200, found)

    def list_keys(self, _owner: str, query: Json, **_: Any) -> Answer:
        """All of them belong to everybody."""
        return self.page(self.keys, query)

    def read_logs(self, _name: str, query: Json, **_: Any) -> Answer:
        """Two lines."""
        return Answer(200, {"lines": self.log[-int(query["lines"]) :]})

    def read_operation(self, name: str, **_: Any) -> Answer:
        """One poll."""
        return Answer(200, self.advance(self.find(list(self.operations.values()), name)))

    def page(self, items: list[Json], query: Json) -> Answer:
        """A bare array with the total in a header."""
        offset, limit = int(query.get("offset", 0)), min(int(query.get("limit", 100)), self.page_limit)
        return Answer(200, items[offset : offset + limit], {"X-Total-Count": str(len(items))})

    def find(self, items: list[Json], name: str) -> Json:
        """The item with this id or name."""
        for item in items:
            if name in (item["id"], item.get("name")):
                return item
        raise error(404, "NotFound", f"There is no {name}.")

    def login(self, body: Json, **_: Any) -> Answer:
        """The password, key and device grants."""
        token = {"access_token": TOKEN, "token_type": "bearer", "expires_in": 3600}
        if "device_code" in body:
            said = self.device_answers.pop(0)
            return Answer(200, token) if said == "approved" else Answer(400, {"error": said})
        if body.get("password") in (KEY, PASSWORD):
            return Answer(200, token)
        raise error(401, "NotAuthenticated", "The credentials are not valid.")

    def authorize_device(self, **_: Any) -> Answer:
        """The start of the device grant."""
        return Answer(200, {
            "device_code": "d", "user_code": "ABCD-EFGH", "verification_uri": "/device",
            "verification_uri_complete": "/device?code=ABCD-EFGH", "expires_in": 1, "interval": 0.01,
        })  # fmt: skip

    def delete_organization(self, name: str, **_: Any) -> Answer:
        """Refuses while there are tenants."""
        if any(t["organization"]["id"] == name for t in self.tenants):
            raise error(409, "Conflict", "The organization still has tenants; delete them first.")
        return Answer(204)

    def add_member(self, home: str, body: Json, **_: Any) -> Answer:
        """Knows only users at example.com."""
        if not body["user"].endswith("@example.com"):
            raise error(422, "InvalidInput", "The input is not valid.", {"user": "there is no such user"})
        self.members[home].append({"id": "u2", "kind": "user", "email": body["user"], "username": "new", "roles": []})
        return Answer(201, self.members[home][-1])

    def list_tenants(self, query: Json, **_: Any) -> Answer:
        """With the filters by name, organization and status; deleted ones only when asked for."""
        found = [t for t in self.tenants if t["status"] == query.get("status", t["status"])]
        if "status" not in query:
            found = [t for t in found if t["status"] != "deleted"]
        found = [t for t in found if query.get("tenant_name") in (None, t["name"])]
        found = [t for t in found if query.get("organization_id") in (None, t["organization"]["id"])]
        return self.page(found, query)

    def create_tenant(self, body: Json, query: Json, **_: Any) -> Answer:
        """Refuses names that are taken; enrolled ones only wait."""
        home = self.find(self.organizations, body["organization_id"])
        if any(t["name"] == body["name"] and t["organization"] is home for t in self.tenants):
            raise error(409, "Conflict", f"{home['name']} already has a tenant {body['name']}.")
        fields = {key: body[key] for key in ("stage", "labels") if key in body}
        if query.get("enroll"):
            tenant = self.tenant(home, body["name"], status="pending", **fields | {"url": "", "enrolled": True})
            environment = {f"ZENML_SERVER_{name}": "x" for name in ("SERVER_URL", "PRO_WORKSPACE_ID")}
            return Answer(201, {**tenant, "enrollment_key": "first", "environment": environment})
        return self.operate(self.tenant(home, body["name"], status="pending", **fields), "create", "available")

    def patch_tenant(self, name: str, body: Json, **_: Any) -> Answer:
        """Changes fields."""
        tenant = self.find(self.tenants, name)
        tenant.update(body)
        return Answer(200, tenant)

    def delete_tenant(self, name: str, **_: Any) -> Answer:
        """Refuses protected tenants."""
        tenant = self.find(self.tenants, name)
        if tenant["protected"]:
            raise error(409, "Conflict", "The tenant is protected; take the protection off first.")
        return self.operate(tenant, "delete", "deleted")

    def act(self, name: str, action: str, **_: Any) -> Answer:
        """Deploys, deactivates, restores."""
        then = {"deploy": "available", "deactivate": "deactivated", "restore": "available"}[action]
        return self.operate(self.find(self.tenants, name), action, then)

    def create_key(self, body: Json, **_: Any) -> Answer:
        """The key is in the answer, once."""
        stored = {"id": str(uuid.uuid4()), "name": body["name"], "hint": "0000", "is_active": True, "created": NOW}
        self.keys.append(stored)
        return Answer(201, {**stored, "expires": body.get("expires"), "key": KEY})

    def delete_key(self, name: str, **_: Any) -> Answer:
        """Forgets a key."""
        self.keys.remove(self.find(self.keys, name))
        return Answer(204)


class OverloadedPlatform(MemoryPlatform):
    """Answers 503 to everything."""

    def handle(self, *_: Any) -> Answer:
        raise error(503, "Unavailable", "The keeper does not answer; try again in a moment.")


class BrokenPlatform(MemoryPlatform):
    """Answers with an unexpected failure."""

    def handle(self, *_: Any) -> Answer:
        raise error(500, "InternalError", "Something went wrong.")


class OtherServer(MemoryPlatform):
    """A web server that is no platform: HTML with status 200."""

    def handle(self, *_: Any) -> Answer:
        raise Answer(200, "<html>hello</html>")


class ObjectServer(MemoryPlatform):
    """A server that speaks JSON and is no platform: it answers with objects where lists belong."""

    def handle(self, *_: Any) -> Answer:
        raise Answer(200, {"items": []})


class GatewayPlatform(MemoryPlatform):
    """Answers as a gateway in front of a dead api does, in ZenML's shape."""

    def handle(self, *_: Any) -> Answer:
        raise Answer(502, {"detail": ["RuntimeError", "The api does not answer."]})


class SlowPlatform(MemoryPlatform):
    """Needs longer than the client waits."""

    def handle(self, *arguments: Any) -> Answer:
        time.sleep(0.5)
        return super().handle(*arguments)


@contextmanager
def serving(platform: MemoryPlatform) -> Iterator[MemoryPlatform]:
    """Serves a platform on a free port of the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            form = self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
            body = {k: v[-1] for k, v in parse_qs(raw.decode()).items()} if form else json.loads(raw or b"null")
            try:
                answer = platform.handle(self.command, parts.path.removeprefix("/api/v1"), query, body, self.headers)
            except Answer as raised:
                answer = raised
            html = isinstance(answer.body, str)
            content = b"" if answer.status == 204 else (answer.body if html else json.dumps(answer.body)).encode()
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "text/html" if html else "application/json")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    for method in ("GET", "POST", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.respond)

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that has gone away is nothing to report."""

    server = Server(("127.0.0.1", 0), Handler)
    platform.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield platform
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
