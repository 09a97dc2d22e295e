"""The condition that some text is contained in columns, alike on every database."""

from typing import Any

from sqlalchemy import ColumnElement, or_


def contains(text: str, *columns: Any) -> ColumnElement[bool]:
    """Returns the condition that `text`, in any case, is part of one of the columns.

    Args:
        text: What people typed; it has no wildcards.
        columns: Where to look.
    """
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return or_(*(column.ilike(f"%{escaped}%", escape="\\") for column in columns))
