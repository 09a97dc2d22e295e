"""A guard that only signs in: for process tests where `nagaya_tenant.application` is not what is tested.

python standin.py MODULE [ARGUMENT …]     runs MODULE as __main__ with the stand-in installed
"""

from __future__ import annotations

import json
import runpy
import sys
from types import ModuleType
from typing import Any
from uuid import UUID


def build(app: Any, settings: Any, policy_document: dict[str, Any]) -> Any:
    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/api/v1/login":
            await _answer(send, *_login(scope, settings, policy_document))
        elif scope["type"] == "http" and scope["path"] == "/openapi.json":
            from nagaya_tenant import openapi_document

            await _answer(send, 200, await openapi_document.document(settings.root_path))
        else:
            await app(scope, receive, send)

    return guarded


def _login(scope: Any, settings: Any, policy: dict[str, Any]) -> tuple[int, bytes]:
    import jwt
    from zenml.models import UserFilter, UserRequest
    from zenml.zen_server.jwt import JWTToken
    from zenml.zen_server.utils import zen_store

    bearer = dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ")
    keys = jwt.PyJWKSet.from_dict(policy["jwks"])
    claims = jwt.decode(bearer, keys.keys[0], ["EdDSA"], audience="nagaya", issuer=settings.public_url)
    known = policy["principals"][claims["sub"]]
    found = zen_store().list_users(UserFilter(external_user_id=UUID(claims["sub"]))).items
    if not found:
        request = UserRequest(name=known["username"], external_user_id=UUID(claims["sub"]), active=True, is_admin=False)
        found = [zen_store().create_user(request)]
    token = JWTToken(user_id=found[0].id).encode()
    return 200, json.dumps({"access_token": token, "token_type": "bearer"}).encode()


async def _answer(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def install() -> None:
    """Puts the three modules of the other half of the package where imports find them."""
    import nagaya_tenant

    application = ModuleType("nagaya_tenant.application")
    application.build = build  # type: ignore[attr-defined]
    sys.modules["nagaya_tenant.application"] = nagaya_tenant.application = application  # type: ignore[attr-defined]
    for name in ("rbac", "feature_gate"):
        sys.modules[f"nagaya_tenant.{name}"] = _Lazy(f"nagaya_tenant.{name}")


class _Lazy(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name == "NagayaRBAC":
            from zenml.zen_server.rbac.rbac_interface import RBACInterface

            class NagayaRBAC(RBACInterface):
                def check_permissions(self, user: Any, resources: Any, action: Any) -> Any:
                    return dict.fromkeys(resources, True)

                def list_allowed_resource_ids(self, user: Any, resource: Any, action: Any) -> Any:
                    return True, []

                def update_resource_membership(self, *_: Any, **__: Any) -> None:
                    """Nothing is stored."""

                def delete_resources(self, resources: Any) -> None:
                    """Nothing is stored."""

            return NagayaRBAC
        if name == "NagayaFeatureGate":
            from zenml.zen_server.feature_gate.feature_gate_interface import FeatureGateInterface

            class NagayaFeatureGate(FeatureGateInterface):
                def check_entitlement(self, *_: Any, **__: Any) -> None:
                    """Nothing is limited."""

                def report_event(self, *_: Any, **__: Any) -> None:
                    """Nothing is counted."""

            return NagayaFeatureGate
        raise AttributeError(name)


if __name__ == "__main__":
    install()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
