"""Says in one sentence why the control database cannot be used, without repeating passwords."""

from typing import Any

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout


class DatabaseUrlError(Exception):
    """NAGAYA_DATABASE_URL cannot be used; the message says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"NAGAYA_DATABASE_URL cannot be used: {reason}.")


class SchemaError(Exception):
    """The database, or its schema, cannot be used by this version; the message says why and what to do."""


READS_ONLY = "25006"
_BY_STATE = {
    "28P01": "PostgreSQL refuses the password; correct the user and the password in NAGAYA_DATABASE_URL",
    "28000": "PostgreSQL refuses this user; check the user in NAGAYA_DATABASE_URL and the server's pg_hba.conf",
    "3D000": "the database does not exist; create it (createdb) or correct its name in NAGAYA_DATABASE_URL",
    "42501": "the user may not do this; make it the owner of the database (ALTER DATABASE … OWNER TO …)",
    READS_ONLY: "the server only reads at the moment (it is a standby); let NAGAYA_DATABASE_URL name the primary",
    "53100": "the server's disk is full; make room there",
    "53300": "the server has no connection left; raise max_connections there, or end other clients",
    "55P03": "another process keeps it locked for too long; try again in a moment",
}
_BY_TEXT = {
    # While a connection is made libpq passes no codes on, only the server's sentence.
    "password authentication failed": _BY_STATE["28P01"],
    "no password supplied": "PostgreSQL asks for a password; put it into NAGAYA_DATABASE_URL",
    "pg_hba.conf": _BY_STATE["28000"],
    "is not permitted to log in": _BY_STATE["28000"],
    "permission denied for database": _BY_STATE["42501"],
    "too many clients": _BY_STATE["53300"],
    "remaining connection slots": _BY_STATE["53300"],
    "too many connections": _BY_STATE["53300"],
    "starting up": "the server is starting; try again in a moment",
    "shutting down": "the server is shutting down; start it",
    "could not translate host name": "the name of its host is not known; correct it in NAGAYA_DATABASE_URL",
    "failed to resolve host": "the name of its host is not known; correct it in NAGAYA_DATABASE_URL",
    "connection refused": "no server answers there; start PostgreSQL, or correct host and port in NAGAYA_DATABASE_URL",
    "no such file or directory": "no server answers there; start PostgreSQL, or correct NAGAYA_DATABASE_URL",
    "timeout expired": "its server does not answer; check the network, host and port of NAGAYA_DATABASE_URL",
    "certificate": "its TLS certificate is not accepted; check sslmode and sslrootcert in NAGAYA_DATABASE_URL",
    "does not support ssl": "its server offers no TLS; switch it on there, or correct sslmode in NAGAYA_DATABASE_URL",
    "disk is full": "the disk is full; make room in the data directory",
    "database is locked": "another process keeps it locked for too long; try again in a moment",
    "readonly database": "its file cannot be written; check the owner of the data directory",
    "unable to open database file": "its file cannot be opened; check that the data directory exists and its owner",
    "file is not a database": "its file is damaged or something else; restore a backup",
    "malformed": "its file is damaged; restore a backup",
}


def state_of(error: BaseException) -> str | None:
    """Returns PostgreSQL's code (SQLSTATE) of an error, if it has one."""
    original: Any = getattr(error, "orig", error)
    state = getattr(original, "sqlstate", None)
    return state if isinstance(state, str) else None


def reason_of(error: Exception) -> str:
    """Returns the sentence for a failure of the database, complete and without secrets.

    Args:
        error: What SQLAlchemy raised.
    """
    if isinstance(error, PoolTimeout):
        return "The control database cannot be used: all connections are busy; try again in a moment."
    text = str(getattr(error, "orig", error)).strip()
    lower = text.lower()
    known = _BY_STATE.get(state_of(error) or "")
    if known is None and 'database "' in lower and "does not exist" in lower:
        known = _BY_STATE["3D000"]
    if known is None:
        known = next((sentence for part, sentence in _BY_TEXT.items() if part in lower), None)
    if known is None:
        # The driver's own words: SQLAlchemy's text repeats the statement and links to its documentation.
        known = (text.splitlines() or [type(error).__name__])[0].rstrip(".")
    return f"The control database cannot be used: {known}."


def is_outage(error: BaseException) -> bool:
    """Whether a failure is of the database or of the way to it, so that the same may work a little later."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    # Drivers raise InterfaceError for a connection that broke before, and InternalError on a server that only reads.
    broken = error.connection_invalidated or state_of(error) == READS_ONLY
    return broken or isinstance(error, OperationalError | InterfaceError)
