"""The schema: one definition for SQLite and PostgreSQL.

Ids are text or 16 random bytes; times are Unix seconds; secrets are digests or
sealed. Columns that change often are not indexed, so that rotating a refresh token
touches one row and no index. Every table carries the prefix `watchword_`, so that
it can share a database with the app it protects.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
)

metadata = MetaData()
PREFIX = "watchword_"

users = Table(
    PREFIX + "users",
    metadata,
    Column("id", String, primary_key=True),
    Column("login", String, unique=True),  # the folded username; empty for an embedder's users
    Column("username", String, nullable=False),
    Column("email", String),
    Column("name", String),
    Column("disabled", SmallInteger, nullable=False, default=0),
    Column("scopes", Text, nullable=False, default=""),
    Column("roles", Text, nullable=False, default=""),
    Column("claims", Text, nullable=False, default="{}"),
    Column("rev_seq", BigInteger, nullable=False, default=0),  # grants opened before it are dead
    Column("created_at", Double, nullable=False),
)

credentials = Table(
    # apart from users, so that a rehash never rewrites a profile and vice versa
    PREFIX + "credentials",
    metadata,
    Column("user_id", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("secret", Text, nullable=False),
    Column("updated_at", Double, nullable=False),
    PrimaryKeyConstraint("user_id", "kind"),
)

clients = Table(
    PREFIX + "clients",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("auth_method", String, nullable=False),
    Column("secrets", Text, nullable=False, default=""),  # SHA-256 digests, two at most
    Column("grants", Text, nullable=False, default=""),
    Column("scopes", Text, nullable=False, default=""),
    Column("resources", Text, nullable=False, default=""),
    Column("introspects", Text, nullable=False, default=""),
    Column("disabled", SmallInteger, nullable=False, default=0),
    Column("rev_seq", BigInteger, nullable=False, default=0),
    Column("created_at", Double, nullable=False),
)

grants = Table(
    # one row per grant, updated in place; the unit of revocation
    PREFIX + "grants",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("user_id", String, nullable=False),
    Column("client_id", String, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("audience", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("rotated_at", Double, nullable=False),
    Column("proof", LargeBinary, nullable=False),  # SHA-256 of the tokens' secret part, halved
    Column("opened_rev", BigInteger, nullable=False),
    Column("auth_time", Double, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("idle_until", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("revoked_seq", BigInteger),
    Index(PREFIX + "grants_user", "user_id"),
    Index(PREFIX + "grants_expiry", "expires_at"),
)

# PostgreSQL leaves so much of each page free for a row's next version, per cent: a rotation
# then touches no index.
ROOM = {grants.name: 20, PREFIX + "limits": 30}

rev_head = Table(
    PREFIX + "rev_head",
    metadata,
    Column("log_id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
)

rev = Table(
    # the revocation log: gapless and in commit order, because rev_head is locked to append
    PREFIX + "rev",
    metadata,
    Column("log_id", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    Column("kind", String, nullable=False),
    Column("key8", BigInteger, nullable=False),
    Column("expires_at", Double, nullable=False),
    PrimaryKeyConstraint("log_id", "seq"),
    Index(PREFIX + "rev_expiry", "expires_at"),
)
# whether a token is revoked already is asked of the log itself
Index(
    PREFIX + "rev_token",
    rev.c.key8,
    sqlite_where=rev.c.kind == "jti",
    postgresql_where=rev.c.kind == "jti",
)

once = Table(
    # things that work once: consumed by deleting the row
    PREFIX + "once",
    metadata,
    Column("kind", String, nullable=False),  # a kind never answers for another
    Column("id", LargeBinary, nullable=False),
    Column("payload", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
    PrimaryKeyConstraint("kind", "id"),
    Index(PREFIX + "once_expiry", "expires_at"),
)

signing_keys = Table(
    PREFIX + "signing_keys",
    metadata,
    Column("kid", String, primary_key=True),
    Column("alg", String, nullable=False),
    Column("signs_from", Double, nullable=False),
    Column("verifies_until", Double),
    Column("sealed", LargeBinary, nullable=False),
    Column("public", Text, nullable=False),
)

audit = Table(
    PREFIX + "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", Double, nullable=False),
    Column("kind", String, nullable=False),
    Column("sub", String),
    Column("client_id", String),
    Column("ip", String),
    Column("detail", Text),
    Index(PREFIX + "audit_at", "at"),
)

outbox = Table(
    # events that functions of the app are still to be told of; gone when they have been
    PREFIX + "outbox",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("kind", String, nullable=False),
    Column("payload", Text, nullable=False),  # JSON
    Column("created_at", Double, nullable=False),
    Column("due_at", Double, nullable=False),  # while leased, when the lease runs out
    Column("tries", Integer, nullable=False, default=0),
    Column("heard", Text, nullable=False, default=""),  # the functions that need no retry
    Column("lease", String),  # of whoever is delivering it
    Index(PREFIX + "outbox_due", "due_at"),
)

hooks = Table(
    # kinds of events that an app wants to be told of, for commands that do not know the app
    PREFIX + "hooks",
    metadata,
    Column("kind", String, primary_key=True),
    Column("seen_at", Double, nullable=False),
)

floor = Table(
    # one row: the oldest revision whose code may serve, while processes are being replaced
    PREFIX + "schema",
    metadata,
    Column("serves_from", String(32), primary_key=True),
)

version = Table(
    PREFIX + "alembic_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=PREFIX + "alembic_version_pkc"),  # Alembic's name
)
