"""Alembic's entry: migrations run on the connection they are given."""

from __future__ import annotations

from alembic import context

from watchword.store import floor, tables

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=tables.metadata,
    version_table=tables.version.name,
    transactional_ddl=True,  # SQLite's can be rolled back too
    render_as_batch=True,  # SQLite cannot alter a column in place
    on_version_apply=floor.raised_by,
)
with context.begin_transaction():
    context.run_migrations()
