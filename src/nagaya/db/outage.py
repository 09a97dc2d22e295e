"""Tells the log once when the database goes away and once when it is back, however many loops notice."""

import time

import structlog

from nagaya.db.errors import is_outage, reason_of

log = structlog.get_logger("nagaya.database")


class Outage:
    """What the background work of one process knows about the database's absence."""

    def __init__(self) -> None:
        self._since: float | None = None

    def failed(self, what: str, error: Exception) -> None:
        """Notes a failure of background work: a line at the beginning of an outage, the traceback of anything else.

        Args:
            what: What did not work.
            error: Why.
        """
        if not is_outage(error):
            log.error(what, exc_info=error)
        elif self._since is None:
            self._since = time.monotonic()
            log.warning("the database does not answer", work=what, reason=reason_of(error))

    def over(self) -> None:
        """Notes that the database answers."""
        if self._since is not None:
            log.warning("the database answers again", seconds=round(time.monotonic() - self._since, 1))
            self._since = None
