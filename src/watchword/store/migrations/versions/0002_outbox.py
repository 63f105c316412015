"""Events on their way to the app's functions, and which kinds those want."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "watchword_outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("heard", sa.Text, nullable=False),
        sa.Column("lease", sa.String),
    )
    op.create_index("watchword_outbox_due", "watchword_outbox", ["due_at"])
    op.create_table(
        "watchword_hooks",
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("seen_at", sa.Double, nullable=False),
    )
