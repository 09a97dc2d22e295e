"""Alembic's entry: runs migrations on the connection that `nagaya.db.migrate` hands over."""

from typing import Any, Literal

from alembic import context

from nagaya.db.base import UtcDateTime
from nagaya.db.tables import metadata


def render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Writes our column type as what it is in the database, so that old migrations need no code of ours."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
    compare_type=True,
    render_item=render_item,
)
# The caller's transaction spans all migrations, so that a crash leaves the old schema.
context.run_migrations()
