"""Audit of changes inside a tenant: the intent is on disk before the handler runs, the outcome is written after.

An event names who, what kind of request, which resource and with which result; never bodies, queries or headers.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any

from nagaya_tenant.errors import Unavailable
from nagaya_tenant.outbox import OutboxFullError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    from nagaya_tenant.outbox import Outbox

log = logging.getLogger(__name__)


class Audit:
    """Writes audit events of one tenant.

    Args:
        outbox: Where the events go.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def intend(
        self, principal: str | None, method: str, route: str, params: Mapping[str, str], request_id: str
    ) -> dict[str, Any]:
        """Records that a request is about to be handled, and returns when that is on disk.

        Args:
            principal: Id of the platform's user or service account.
            method: HTTP method.
            route: The route's template, for instance `/api/v1/stacks/{stack_id}`.
            params: Path parameters: ids and names of resources.
            request_id: The id by which the request appears in the log.

        Returns:
            The event, to hand to `conclude`.

        Raises:
            Unavailable: The event could not be recorded; the change must not be made.
        """
        intent = uuid.uuid4().hex
        event = {
            "kind": "audit.intent",
            "intent": intent,
            "time": time.time(),
            "principal": principal,
            "method": method,
            "route": route,
            "params": {name: value[:255] for name, value in params.items()},
            "request_id": request_id[:128],
        }
        try:
            await asyncio.wrap_future(self._outbox.intend(intent, event))
        except OutboxFullError as error:
            log.exception("A change was refused because it cannot be recorded.")
            raise Unavailable(
                "This tenant cannot record changes at the moment, because the control plane has not taken its events "
                "for a long time; reading still works."
            ) from error
        return event

    def note(self, principal: str, method: str, route: str, request_id: str) -> Future[None]:
        """Records something that succeeded and that nothing had to be announced for: a login.

        Args:
            principal: Who.
            method: HTTP method.
            route: The route's template.
            request_id: The id by which the request appears in the log.
        """
        event = {"intent": uuid.uuid4().hex, "principal": principal, "method": method, "route": route, "params": {}}
        outcome = {"time": time.time(), "outcome": "success", "status": 200, "request_id": request_id[:128]}
        return self._outbox.append({"kind": "audit.outcome", **event, **outcome})

    def conclude(self, event: Mapping[str, Any], status: int | None) -> Future[None]:
        """Records how a request ended.

        Args:
            event: What `intend` returned.
            status: HTTP status of the answer; `None` if it is not known, because the client went away.
        """
        if status is None:
            outcome = "unknown"
        else:
            outcome = "success" if status < 400 else "denied" if status in {401, 403} else "failure"
        return self._outbox.conclude(
            event["intent"],
            {**event, "kind": "audit.outcome", "time": time.time(), "outcome": outcome, "status": status},
        )
