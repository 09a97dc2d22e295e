"""SQLAlchemy's SQLite dialect as one object per process, with one cache of compiled statements for all its engines.

SQLAlchemy keeps what it has compiled per engine, and its keys contain the dialect's identity. A forked tenant makes an
engine of its own and would therefore compile again, at each start and in memory of its own, every statement that the
zygote has compiled before the fork. Registered dialects and `Dialect.engine_created` are SQLAlchemy's documented ways
to extend it; nothing of it is replaced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

# As many statements as an engine of SQLAlchemy keeps by default (`create_engine`, query_cache_size).
KEPT_STATEMENTS = 500


class SharedDialect(SQLiteDialect_pysqlite):
    """The dialect; the same arguments give the same object."""

    driver = "pysqlite"
    supports_statement_cache = True

    _made: dict[tuple[tuple[str, Any], ...], SharedDialect] = {}  # noqa: RUF012 - deliberately one per process
    _statements: LRUCache[Any, Any] = LRUCache(KEPT_STATEMENTS)

    def __new__(cls, **options: Any) -> Self:
        """Returns the dialect that was made with these options before, if any."""
        key = tuple(sorted(options.items(), key=lambda item: item[0]))
        if (found := cls._made.get(key)) is None:
            found = cls._made[key] = super().__new__(cls)
        return found  # type: ignore[return-value]  # only this class is ever kept

    def __init__(self, **options: Any) -> None:
        if not vars(self):
            super().__init__(**options)

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        """Gives the engine the cache; SQLAlchemy calls this for each engine of the dialect."""
        engine.update_execution_options(compiled_cache=cls._statements)


def register() -> None:
    """Makes `sqlite:` addresses use this dialect in this process; before the first engine is made."""
    registry.register("sqlite", __name__, SharedDialect.__name__)
