"""Indexes for large installations, and the one that keeps e-mail addresses apart in any case of their letters."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies the change."""
    op.create_index("ix_users_email_lower", "users", [sa.text("lower(email)")], unique=True)
