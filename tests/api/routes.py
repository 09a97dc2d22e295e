"""Every operation that the application declares, for tests by reflection."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from tests.api.world import Settled

PUBLIC = frozenset({"log_in", "authorize_device", "accept_invitation_link", "server_info", "health", "ready", "jwks"})
"""Operations that need no credentials, each for a reason that its own tests tell."""
_descriptions: list[dict[str, Any]] = []
SAFE = frozenset({"get", "head"})


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    id: str
    method: str
    path: str
    security: tuple[str, ...]
    description: dict[str, Any]

    @property
    def writes(self) -> bool:
        return self.method not in SAFE

    def address(self, settled: Settled) -> str:
        """The path with ids of things that exist, where there are such."""
        known = {
            "organization": "acme",
            "organization_id": settled.organization["id"],
            "tenant": settled.tenant["id"],
            "tenant_id": settled.tenant["id"],
            "user_id": str(settled.admin.id),
            "principal_id": str(settled.admin.id),
            "session_id": str(settled.admin.session_id),
            "name": "staging",
            "feature": "pipeline",
            "id_or_code": str(uuid.uuid4()),
        }
        path = self.path
        for parameter in self.description.get("parameters", []):
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", known.get(parameter["name"], str(uuid.uuid4())))
        needed = [
            f"{parameter['name']}={settled.tenant['id'] if parameter['name'] == 'server_id' else 'x'}"
            for parameter in self.description.get("parameters", [])
            if parameter["in"] == "query" and parameter.get("required")
        ]
        return path + ("?" + "&".join(needed) if needed else "")


def operations(app: Any) -> list[Operation]:
    """All operations of the API, from its own description, which is the same for every application that tests make."""
    if not _descriptions:
        _descriptions.append(app.openapi())
    found = []
    for path, methods in _descriptions[0]["paths"].items():
        for method, description in methods.items():
            security = tuple(sorted(name for each in description.get("security", []) for name in each))
            found.append(Operation(description["operationId"], method, path, security, description))
    return found
