"""The two sides of a comparison: a tenant through the gateway and a plain server, filled with the same things."""

from __future__ import annotations

import http.client
import uuid
from dataclasses import dataclass, field

from harness.fuzzing import Answered, Sent
from harness.wire import Address, Caller

MARK = "kept-by-tenant-b"
"""In the name of everything that tenant B makes, and in nothing that is generated."""
UUID = "00000000-0000-4000-9000-0000000000"
KINDS = ("project", "user", "stack", "component", "pipeline", "secret", "tag", "model", "artifact")
PLACEHOLDERS = {kind: f"{UUID}{number:02}" for number, kind in enumerate(KINDS)}
"""Ids in generated requests by what they stand for; each side has its own."""
PARAMETERS = {
    "project": ("project_name_or_id", "project_id", "project"),
    "user": ("user_name_or_id", "user_id", "user"),
    "stack": ("stack_id", "stack"),
    "component": ("component_id", "orchestrator", "orchestrator_id"),
    "pipeline": ("pipeline_id", "pipeline", "pipeline_name_or_id"),
    "secret": ("secret_id", "secret_name_or_id"),
    "tag": ("tag_id", "tag_name_or_id", "tag"),
    "model": ("model_id", "model_name_or_id", "model"),
    "artifact": ("artifact_id", "artifact", "artifact_name_or_id"),
}
"""Names that ZenML gives to parameters and properties, by what they stand for."""


@dataclass
class Side:
    """One server and what it calls the things that both sides have.

    Args:
        caller: Connection to it, with a token.
        ids: Ids by placeholder.
        own: Strings that nobody but this side may show.
    """

    caller: Caller
    ids: dict[str, str] = field(default_factory=dict)
    own: frozenset[str] = frozenset()

    @classmethod
    def signed_in(cls, address: Address, token: str) -> Side:
        """A side that nothing is known of yet."""
        return cls(Caller(address, token))

    def send(self, sent: Sent) -> Answered:
        """Sends a generated request as it is, with this side's ids and token."""
        filled = sent.filled(self.ids)
        headers = {**filled.headers, "Authorization": f"Bearer {self.caller.token}"}
        target = self.caller.address.prefix + filled.target
        connection = self.caller.connection
        for fresh in (False, True):
            try:
                connection.request(filled.method, target, body=filled.body or None, headers=headers)
                response = connection.getresponse()
                return Answered(response.status, dict(response.getheaders()), response.read())
            except (OSError, http.client.HTTPException):
                # Servers close connections that were idle for a while, or that they have refused a body on.
                connection.close()
                if fresh:
                    raise
        raise AssertionError("unreachable")

    def known(self) -> dict[str, list[str]]:
        """What the generator may use: placeholders, and the names of things, which both sides share."""
        values = {name: [PLACEHOLDERS[kind]] for kind, names in PARAMETERS.items() for name in names}
        values["project_name_or_id"] = values["project"] = ["default", PLACEHOLDERS["project"]]
        return values

    def ids_not_of(self, other: Side) -> frozenset[str]:
        """Ids that the other side does not have; what tenants are born with has the same ids everywhere."""
        return frozenset(self.ids.values()) - frozenset(other.ids.values())


def seed_side(side: Side, name: str) -> None:
    """Makes one thing of each kind and notes the ids.

    Args:
        side: The server.
        name: Part of the names.
    """
    call = side.caller
    project = call.expect("GET", "/api/v1/projects/default").json()["id"]
    user = call.expect("GET", "/api/v1/current-user").json()["id"]
    stack = call.expect("GET", "/api/v1/stacks").json()["items"][0]["id"]
    component = call.expect("GET", "/api/v1/components").json()["items"][0]["id"]
    secret = {"name": f"{name}-secret", "private": False, "values": {"key": f"{name}-{uuid.uuid4()}"}}
    bodies = {
        "pipeline": ("/pipelines", {"name": f"{name}-pipeline", "project": project, "description": name}),
        "secret": ("/secrets", secret),
        "tag": ("/tags", {"name": f"{name}-tag", "color": "blue"}),
        "model": ("/models", {"name": f"{name}-model", "project": project, "description": name}),
        "artifact": ("/artifacts", {"name": f"{name}-artifact", "project": project, "has_custom_name": True}),
    }
    ids = {"project": project, "user": user, "stack": stack, "component": component}
    for kind, (path, body) in bodies.items():
        answer = call.call("POST", f"/api/v1{path}", body=body)
        if answer.status not in (200, 201):
            raise RuntimeError(f"POST {path}: {answer.status} {answer.body[:400]!r}")
        ids[kind] = answer.json()["id"]
    side.ids = {PLACEHOLDERS[kind]: str(value) for kind, value in ids.items()}
