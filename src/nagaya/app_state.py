"""Makes the state that the applications of one api process, and the first start, work with."""

import datetime as dt
from collections.abc import Callable

from nagaya.db.base import utc_now
from nagaya.db.engine import PLACE, Database, database_url
from nagaya.db.migrate import upgrade
from nagaya.http.settings import ApiSettings
from nagaya.http.state import AppState
from nagaya.identity.activity import Activity
from nagaya.identity.keys import Keys, ensure_keys
from nagaya.identity.passwords import Passwords
from nagaya.identity.tokens import Tokens


def create_state(settings: ApiSettings, keys: Keys | None = None, now: Callable[[], dt.datetime] = utc_now) -> AppState:
    """Opens keys and database and returns the state that the applications of one process share.

    Args:
        settings: The settings.
        keys: The keys; by default the installation's, made if it is new.
        now: The clock.

    Raises:
        KeyFileError: A key file is damaged.
        DatabaseUrlError: The URL of the database is none.
        SchemaError: The database cannot be used, or was made by a newer version.
    """
    keys = keys or ensure_keys(settings.data_dir, master_key_file=settings.master_key_file)
    if settings.database_url is None:
        (settings.data_dir / PLACE.parent).mkdir(mode=0o700, exist_ok=True)
    database = Database(database_url(settings.data_dir, settings.database_url))
    try:
        upgrade(database)
    except BaseException:
        database.close()
        raise
    return AppState(
        settings=settings,
        database=database,
        keys=keys,
        tokens=Tokens(keys, settings.public_url, now),
        passwords=Passwords(settings.hash_concurrency),
        activity=Activity(),
        now=now,
    )
