"""The oldest revision whose code may serve, so that two versions can serve during an upgrade."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    floor = op.create_table(
        "watchword_schema", sa.Column("serves_from", sa.String(32), primary_key=True)
    )
    op.bulk_insert(floor, [{"serves_from": "0003"}])  # code of before does not look here
