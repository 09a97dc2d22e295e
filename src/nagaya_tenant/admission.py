"""Admission of tokens of the platform: who they stand for, and whether that is a member now.

A new policy needs some milliseconds from the control plane's commit to this process, and whoever has just become a
member may be faster. So before a stranger with a good token is refused, the control plane is asked once whether there
is a newer policy. A few of these questions are allowed in any three seconds, so that strangers cannot use this tenant
to keep the control plane busy; whoever comes beyond that is decided on by the policy that is here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from nagaya_tenant.errors import CredentialsRefused

if TYPE_CHECKING:
    from nagaya_policy.principals import Principal
    from nagaya_tenant.channel import Channel
    from nagaya_tenant.guard_tokens import PlatformToken, Tokens
    from nagaya_tenant.policy_state import PolicyState

ASK_SECONDS = 2.0
PERIOD_SECONDS = 3.0
MOST_ASKED = 20
MOST_ASKED_BY_ONE = 3
MOST_WAITING = 16  # A control plane that hangs must not fill the tenant with strangers who wait.

log = logging.getLogger(__name__)


class Admission:
    """Decides on tokens of the platform; used in the event loop of the channel only.

    Args:
        policy: Who is a member.
        tokens: Verifies tokens.
        channel: Brings a newer policy.
    """

    def __init__(self, policy: PolicyState, tokens: Tokens, channel: Channel) -> None:
        self._policy = policy
        self._tokens = tokens
        self._channel = channel
        self._turn = asyncio.Lock()
        self._asked: deque[tuple[float, str]] = deque()
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._waiting = 0

    async def admit(self, token: str, kinds: frozenset[str]) -> tuple[Principal, PlatformToken]:
        """The member that a token of the platform stands for, and what the token says.

        Takes up to `ASK_SECONDS` for somebody whom the policy does not know, else it waits for nothing.

        Args:
            token: The JWS.
            kinds: Which `typ` claims are acceptable here.

        Raises:
            CredentialsRefused: The token is not good, or not one of a member.
            Unavailable: There is no policy that may decide (`PolicyState.current`).
        """
        verified = self._tokens.platform(token, kinds)
        if not self._policy.is_member(verified.principal):
            await self._look_again(verified.principal)
            # A newer policy may have brought other keys.
            verified = self._tokens.platform(token, kinds)
        self._policy.require_token(verified.principal, verified.issued_at, verified.session)
        principal = self._policy.current().principal(verified.principal)
        if principal is None:
            raise CredentialsRefused("Authentication error: not a member of this tenant.")
        return principal, verified

    async def _look_again(self, principal: str) -> None:
        """Returns when the policy is as new as the control plane's, or when that cannot be found out now."""
        if self._waiting >= MOST_WAITING:
            return
        asking = self._asking.get(principal)
        if asking is None:
            if not self._may_ask(principal):
                return
            asking = self._asking[principal] = asyncio.create_task(self._ask(principal), name="nagaya-newer-policy")
        self._waiting += 1
        try:
            # Whoever goes away does not take the answer from the others.
            await asyncio.wait({asking})
        finally:
            self._waiting -= 1

    def _may_ask(self, principal: str) -> bool:
        now = time.monotonic()
        while self._asked and self._asked[0][0] <= now - PERIOD_SECONDS:
            self._asked.popleft()
        own = sum(each == principal for _, each in self._asked)
        if len(self._asked) >= MOST_ASKED or own >= MOST_ASKED_BY_ONE:
            return False
        self._asked.append((now, principal))
        return True

    async def _ask(self, principal: str) -> None:
        try:
            # One after the other: an answer that was under way before may be older than this principal's membership,
            # and one that is newer may have brought this principal too.
            async with asyncio.timeout(ASK_SECONDS), self._turn:
                if not self._policy.is_member(principal):
                    await self._channel.refresh()
        except (ConnectionError, TimeoutError, ValueError) as error:
            log.warning("A stranger is refused by the policy that is here, the control plane gave none: %s", error)
        except Exception:
            log.exception("The control plane could not be asked for a newer policy.")
        finally:
            del self._asking[principal]
