"""The settings themselves: name, default, reason, bounds; the manual is made of these."""

from __future__ import annotations

from typing import Literal

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from watchword.rules.revoking import LONGEST_LIFE
from watchword.settings.kinds import Seconds, Words, option, without_passwords
from watchword.settings.sources import PREFIX, DotEnv, NamedFiles, Toml


class Settings(BaseSettings):
    """One frozen value; see each field for its reason."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    # --- core ---
    env: Literal["production", "development"] = option(
        "production",
        "development relaxes https, makes its own secret and hints at causes, on loopback only",
        group="core",
    )
    issuer: str = option(
        "",
        "the server's own URL, without a trailing slash; from here and never from a Host header, "
        "which anybody can forge",
        group="core",
    )
    secret: str = option(
        "",
        "32 bytes or more; seals the signing keys and binds the refresh tokens",
        group="core",
        repr=False,
    )
    secret_previous: str = option(
        "", "the secret before this one, while it is being changed", group="core", repr=False
    )
    database_url: str = option(
        "sqlite:///./watchword.db", "where everything that must last is kept", group="core"
    )
    migrate: Literal["auto", "check"] = option(
        "check",
        "what to do at start with an older schema: refuse, so that an upgrade is a decision, "
        "or migrate",
        group="core",
    )

    # --- network ---
    trusted_proxies: Words = option(
        (),
        "addresses or networks of your own proxies; without them the peer is the client, "
        "so that nobody can choose an address",
        group="network",
    )
    forwarded_header: str = option(
        "x-forwarded-for", "the one header your proxies append the client to", group="network"
    )
    browser_origins: Words = option(
        (), "origins whose pages may call the token, ticket and revoke endpoints", group="network"
    )
    prefix: str = option(
        "/auth", "the path below which everything of Watchword's own lives", group="network"
    )

    # --- lifetimes ---
    access_ttl: Seconds = option(
        600.0,
        "short, because guards elsewhere that cannot follow revocations must wait it out",
        group="lifetimes",
        ge=30,
        le=LONGEST_LIFE,
    )
    refresh_ttl: Seconds = option(
        30 * 86_400.0, "a grant unused for so long ends", group="lifetimes", ge=60
    )
    refresh_max: Seconds = option(
        90 * 86_400.0,
        "every grant ends after so long; people sign in again",
        group="lifetimes",
        ge=60,
    )
    refresh_replay: Seconds = option(
        30.0,
        "within it a spent refresh token is answered with the same successor: answers get lost "
        "and tabs race",
        group="lifetimes",
        ge=0,
        le=60,
    )

    device_ttl: Seconds = option(
        90 * 86_400.0,
        "a device on which nobody signs in for so long is no longer known",
        group="lifetimes",
        ge=60,
        le=400 * 86_400.0,  # browsers keep no cookie for longer
    )

    # --- tokens ---
    resource: str = option(
        "", "the audience of access tokens; empty means the issuer: this very app", group="tokens"
    )
    access_token_alg: Literal["ES256", "RS256", "PS256", "Ed25519"] = option(
        "ES256",
        "the cheapest to sign and small; RS256 for verifiers that know no other",
        group="tokens",
    )
    key_rotate: Seconds = option(
        90 * 86_400.0, "a signing key older than this gets a successor", group="tokens", ge=3600
    )
    key_overlap: Seconds = option(
        7 * 86_400.0,
        "a replaced key verifies for so long; more than the longest token life",
        group="tokens",
        ge=600,
    )

    # --- revocation ---
    max_stale: Seconds = option(
        2.0,
        "across a network: a revocation is noticed within it, or nobody is let in; SQLite's is 0",
        group="revocation",
        ge=0.1,
        le=300,
    )
    when_stale: Literal["closed", "introspect"] = option(
        "closed",
        "what guards do that cannot tell what was revoked of late: refuse with 503, or ask the "
        "database about each token",
        group="revocation",
    )

    # --- sign-in ---
    password_login: Literal["first_party", "off"] = option(
        "first_party",
        "POST /token with a password, for the built-in client only; off is the strict profile of "
        "RFC 9700, which knows no such grant",
        group="sign-in",
    )
    first_party_paths: bool = option(
        True,  # noqa: FBT003
        "the tutorial's own paths: /token, /refresh-token, /revoke-token, /users/me",
        group="sign-in",
    )
    known_devices: bool = option(
        True,  # noqa: FBT003
        "a cookie by which a device that has signed in is counted by itself, so that strangers who "
        "use up an account's tries do not lock its owner out",
        group="sign-in",
    )
    hash_memory_kib: int = option(
        19_456,
        "memory of one Argon2id hash; the floor OWASP gives",
        group="sign-in",
        ge=64,
        le=1_048_576,
    )
    hash_passes: int = option(2, "passes of one Argon2id hash", group="sign-in", ge=1, le=50)
    hash_wait: Seconds = option(
        1.0,
        "a login that would wait longer for its hash is told to come back",
        group="sign-in",
        gt=0,
        le=30,
    )

    # --- limits ---
    limit_login_account_ip: str = option(
        "5 + 1/min", "tries of one account from one address", group="limits"
    )
    limit_login_ip: str = option("20 + 1/s", "tries from one address", group="limits")
    limit_login_wide: str = option(
        "200 + 5/s",
        "tries from one IPv6 /48: what one site gets, and what mobile networks share out",
        group="limits",
    )
    limit_login_account: str = option(
        "100 + 100/h", "tries of one account from anywhere", group="limits"
    )
    limit_login_device: str = option(
        "10 + 1/min",
        "tries of one account from a device it has signed in on, instead of the account's own",
        group="limits",
    )
    limit_token: str = option(
        "600 + 10/s",
        "token, ticket, revocation and introspection requests from one address",
        group="limits",
    )
    limit_backend: Literal["auto", "redis", "db", "memory"] = option(
        "auto",
        "where attempts are counted: in Redis if there is a redis_url, else in or beside the "
        "database; memory is for one process",
        group="limits",
    )

    # --- redis ---
    redis_url: str = option(
        "",
        "Redis or Valkey, for limits that all machines share; it may be away at any time: "
        "redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://",
        group="redis",
        repr=False,
    )
    redis_timeout: Seconds = option(
        0.1,
        "an answer that takes longer is not waited for; the process counts for itself then",
        group="redis",
        ge=0.01,
        le=5,
    )

    # --- operation ---
    drain: Seconds = option(
        0.0,
        "how long to serve on after SIGTERM, while `/health/ready` says no to the balancer",
        group="operation",
        ge=0,
        le=300,
    )
    docs: bool | None = option(
        None,
        "the app's docs page: on in development, off in production unless asked for",
        group="operation",
    )
    audit_routes: Literal["warn", "deny", "off"] = option(
        "warn",
        "what to do at start with routes that are neither guarded nor public",
        group="operation",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - ours reads .env strictly
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keyword, variable, file named by a variable, `.env`, toml."""
        return (
            init_settings,
            env_settings,
            NamedFiles(settings_cls),
            DotEnv(settings_cls),
            Toml(settings_cls),
        )

    # --- what follows from them ---

    @property
    def is_development(self) -> bool:
        """Whether this is somebody's own machine."""
        return self.env == "development"

    @property
    def strict(self) -> bool:
        """Whether the password grant is off, as RFC 9700 section 2.4 wants it."""
        return self.password_login == "off"  # noqa: S105

    @property
    def counts_in(self) -> Literal["redis", "db", "memory"]:
        """Where attempts are counted."""
        if self.limit_backend == "auto":
            return "redis" if self.redis_url else "db"
        return self.limit_backend

    @property
    def audience(self) -> str:
        """The resource that access tokens are for."""
        return self.resource or self.issuer

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secret in use and the one before it."""
        return tuple(s for s in (self.secret, self.secret_previous) if s)

    @property
    def database_path(self) -> str:
        """The file of an `sqlite:///` URL, or `:memory:`; empty for a server."""
        on_file = self.database_url.startswith("sqlite:")
        return (self.database_url.removeprefix("sqlite:///") or ":memory:") if on_file else ""

    @property
    def database_shown(self) -> str:
        """The database's URL as people and logs may see it: without a password."""
        return without_passwords(self.database_url)

    def __repr__(self) -> str:
        return f"Settings(env={self.env!r}, issuer={self.issuer!r})"

    __str__ = __repr__
