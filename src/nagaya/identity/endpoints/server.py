"""What the control plane says about itself: `/server/info`, `/health`, `/ready`, and its public keys."""

import json
from typing import Any

from fastapi import Response
from sqlalchemy import text

import nagaya
from nagaya.http.routing import Routes
from nagaya.http.state import AppState, State
from nagaya.http.transactions import Db, TransactionRoute
from nagaya.identity.schemas import Health, ServerInfo

router = Routes(tags=["server"], route_class=TransactionRoute)


def instance_id(state: AppState) -> str | None:
    """Returns the id of this installation, if `instance.json` has one."""
    try:
        value = json.loads((state.settings.data_dir / "instance.json").read_bytes())
        return str(value["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@router.get("/server/info")
def server_info(state: State) -> ServerInfo:
    """Returns version and addresses."""
    return ServerInfo(
        version=nagaya.__version__,
        public_url=state.settings.public_url,
        api_url=state.settings.api_url,
        instance_id=instance_id(state),
    )


@router.get("/health")
async def health() -> Health:
    """Answers as long as the process lives."""
    return Health()


@router.get("/ready")
def ready(db: Db) -> Health:
    """Answers once the database does."""
    db.execute(text("SELECT 1"))
    return Health()


@router.get("/.well-known/jwks.json")
async def jwks(response: Response, state: State) -> dict[str, list[dict[str, Any]]]:
    """Returns the keys that verify the platform's tokens (RFC 7517)."""
    response.headers["Cache-Control"] = "public, max-age=300"
    return state.keys.jwks()
