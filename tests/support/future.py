"""Versions that are still to come: revisions of the schema, and code that speaks them.

9001 only adds: a column that newer code reads, a table that it writes. 9002 adds what
code from before 9001 would have to obey, so that such code may not serve any more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from node import DEFAULTS

from watchword.store import schema

_ADDS = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9001", "{head}"
def upgrade():
    op.add_column("watchword_grants", sa.Column("place", sa.Text))
    op.create_table("watchword_places", sa.Column("name", sa.Text, primary_key=True))
"""
_MUST_BE_OBEYED = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9002", "9001"
serves_from = "9001"
def upgrade():
    op.add_column(
        "watchword_users", sa.Column("frozen", sa.SmallInteger, nullable=False, server_default="0")
    )
"""
_REVISIONS = {"9001": _ADDS, "9002": _MUST_BE_OBEYED}
_SPEAKS = """
from pathlib import Path
from sqlalchemy import Column, Text
from watchword.store import schema, tables
schema.MIGRATIONS, schema.HEAD = Path({where!r}), {revisions!r}[-1]
schema.REVISIONS += {revisions!r}
tables.grants.append_column(Column("place", Text))
"""


def migrations(directory: Path, *revisions: str) -> Path:
    """Ours, and some of those to come."""
    where = directory / "-".join(("migrations", *revisions))
    if not where.exists():
        shutil.copytree(schema.MIGRATIONS, where, ignore=shutil.ignore_patterns("__pycache__"))
        for revision in revisions:
            text = _REVISIONS[revision].replace("{head}", schema.HEAD)
            (where / "versions" / f"{revision}_future.py").write_text(text)
    return where


def speaks(directory: Path, *revisions: str) -> str:
    """The beginning of a program whose Watchword is of a later version."""
    return _SPEAKS.format(where=str(migrations(directory, *revisions)), revisions=revisions)


def watchword(directory: Path, url: str, words: str, *revisions: str) -> None:
    """The command line of code that speaks them."""
    script = speaks(directory, *revisions) + "from watchword.cli import cli\ncli()\n"
    subprocess.run(
        [sys.executable, "-c", script, *words.split()],
        check=True,
        timeout=60,
        cwd=directory,
        env={**os.environ, **DEFAULTS, "WATCHWORD_DATABASE_URL": url},
    )
