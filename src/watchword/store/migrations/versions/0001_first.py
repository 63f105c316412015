"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _people()
    _grants()
    _revocations()
    _the_rest()
    if op.get_bind().dialect.name == "postgresql":
        _on_a_server()


def _people() -> None:
    op.create_table(
        "watchword_users",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("login", sa.String, unique=True),
        sa.Column("username", sa.String, nullable=False),
        sa.Column("email", sa.String),
        sa.Column("name", sa.String),
        sa.Column("disabled", sa.SmallInteger, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("roles", sa.Text, nullable=False),
        sa.Column("claims", sa.Text, nullable=False),
        sa.Column("rev_seq", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_table(
        "watchword_credentials",
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "kind"),
    )
    op.create_table(
        "watchword_clients",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("auth_method", sa.String, nullable=False),
        sa.Column("secrets", sa.Text, nullable=False),
        sa.Column("grants", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("resources", sa.Text, nullable=False),
        sa.Column("introspects", sa.Text, nullable=False),
        sa.Column("disabled", sa.SmallInteger, nullable=False),
        sa.Column("rev_seq", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )


def _grants() -> None:
    op.create_table(
        "watchword_grants",
        sa.Column("id", sa.LargeBinary, primary_key=True),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("client_id", sa.String, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("audience", sa.Text, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("rotated_at", sa.Double, nullable=False),
        sa.Column("proof", sa.LargeBinary, nullable=False),
        sa.Column("opened_rev", sa.BigInteger, nullable=False),
        sa.Column("auth_time", sa.Double, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("idle_until", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("revoked_seq", sa.BigInteger),
    )
    op.create_index("watchword_grants_user", "watchword_grants", ["user_id"])
    op.create_index("watchword_grants_expiry", "watchword_grants", ["expires_at"])


def _revocations() -> None:
    head = op.create_table(
        "watchword_rev_head",
        sa.Column("log_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(head, [{"log_id": 0, "epoch": 1, "seq": 0}])
    op.create_table(
        "watchword_rev",
        sa.Column("log_id", sa.Integer, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("key8", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("log_id", "seq"),
    )
    op.create_index("watchword_rev_expiry", "watchword_rev", ["expires_at"])
    revoked_tokens = sa.text("kind = 'jti'")
    op.create_index(
        "watchword_rev_token",
        "watchword_rev",
        ["key8"],
        sqlite_where=revoked_tokens,
        postgresql_where=revoked_tokens,
    )


def _the_rest() -> None:
    op.create_table(
        "watchword_once",
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("id", sa.LargeBinary, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("kind", "id"),
    )
    op.create_index("watchword_once_expiry", "watchword_once", ["expires_at"])
    op.create_table(
        "watchword_signing_keys",
        sa.Column("kid", sa.String, primary_key=True),
        sa.Column("alg", sa.String, nullable=False),
        sa.Column("signs_from", sa.Double, nullable=False),
        sa.Column("verifies_until", sa.Double),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("public", sa.Text, nullable=False),
    )
    op.create_table(
        "watchword_audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("sub", sa.String),
        sa.Column("client_id", sa.String),
        sa.Column("ip", sa.String),
        sa.Column("detail", sa.Text),
    )
    op.create_index("watchword_audit_at", "watchword_audit", ["at"])


def _on_a_server() -> None:
    op.create_table(
        "watchword_limits",
        sa.Column("k", sa.Text, primary_key=True),
        sa.Column("tat", sa.BigInteger, nullable=False),
        prefixes=["UNLOGGED"],
    )
    op.execute("ALTER TABLE watchword_grants SET (fillfactor = 80)")
    op.execute("ALTER TABLE watchword_limits SET (fillfactor = 70)")
