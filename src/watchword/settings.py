"""Every option, grouped, with its reason.

A setting has one name in three places: the keyword of `Auth(...)`, the variable
`WATCHWORD_<NAME>` (or a file named by `WATCHWORD_<NAME>_FILE`), and the key in
`watchword.toml`. Precedence: keyword, variable, file, `.env`, toml, default. An
unknown name is refused, with the nearest known one.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import secrets
import tomllib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from watchword.errors import ConfigError

PREFIX = "WATCHWORD_"
CONFIG = "WATCHWORD_CONFIG"  # names the toml file
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")


def seconds(value: object) -> object:
    """`10m`, `30d`, `45` (seconds) or a timedelta, as seconds."""
    if hasattr(value, "total_seconds"):
        return value.total_seconds()
    if isinstance(value, str):
        found = _DURATION.fullmatch(value.strip())
        if found is None:
            raise ValueError("write a number and a unit: 30s, 10m, 12h, 90d")
        return float(found[1]) * _UNITS[found[2] or "s"]
    return value


def _words(value: object) -> object:
    if isinstance(value, str):
        return tuple(word for word in re.split(r"[\s,]+", value) if word)
    return value


Seconds = Annotated[float, BeforeValidator(seconds)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]


def option(default: Any, why: str, *, group: str, **bounds: Any) -> Any:
    """A setting: its default, its reason (the manual is made of these), its group."""
    return Field(default, description=why, json_schema_extra={"group": group}, **bounds)


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
        (), "origins whose pages may call the token and revocation endpoints", group="network"
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
        le=86_400,
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
    limit_login_account: str = option(
        "100 + 100/h", "tries of one account from anywhere", group="limits"
    )
    limit_token: str = option(
        "600 + 10/s",
        "token, revocation and introspection requests from one address",
        group="limits",
    )
    limit_backend: Literal["db", "memory"] = option(
        "db", "counters beside the database are shared by all workers of a machine", group="limits"
    )

    # --- operation ---
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
            _NamedFiles(settings_cls),
            _DotEnv(settings_cls),
            _Toml(settings_cls),
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
    def audience(self) -> str:
        """The resource that access tokens are for."""
        return self.resource or self.issuer

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secret in use and the one before it."""
        return tuple(s for s in (self.secret, self.secret_previous) if s)

    @property
    def database_path(self) -> str:
        """The file of an `sqlite:///` URL, or `:memory:`."""
        return self.database_url.removeprefix("sqlite:///") or ":memory:"

    def __repr__(self) -> str:
        return f"Settings(env={self.env!r}, issuer={self.issuer!r})"

    __str__ = __repr__


class _NamedFiles(PydanticBaseSettingsSource):
    """`WATCHWORD_SECRET_FILE=/run/secrets/x`: how containers hand secrets over."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        path = os.environ.get(f"{PREFIX}{field_name.upper()}_FILE")
        if path is None:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n"), field_name, False
        except OSError as error:
            raise ConfigError(
                f"{PREFIX}{field_name.upper()}_FILE names a file that cannot be read.",
                why=str(error.strerror),
                fix="give the user who runs the server read access to it",
            ) from error
        except UnicodeDecodeError:  # whose text would show the bytes
            raise ConfigError(
                f"{PREFIX}{field_name.upper()}_FILE names a file that is not text.",
                fix="write the value into it as UTF-8",
            ) from None

    def __call__(self) -> dict[str, Any]:
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _, _ = self.get_field_value(field, name)
            if value is not None:
                found[name] = value
        return found


class _DotEnv(_NamedFiles):
    """The `WATCHWORD_*` lines of `.env`, which is what `watchword init` writes."""

    def __call__(self) -> dict[str, Any]:
        from dotenv import dotenv_values  # noqa: PLC0415 - only where there is a file

        if not Path(".env").is_file():
            return {}
        return {
            name.removeprefix(PREFIX).lower(): value
            for name, value in dotenv_values(".env").items()
            if name.startswith(PREFIX) and value is not None and name != CONFIG
        }


class _Toml(_NamedFiles):
    """`watchword.toml`, without the tables that describe a server without an app."""

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in _toml().items() if name not in _TABLES}


_TABLES = ("scopes", "roles")  # what `Auth(...)` takes as keywords of its own


def tables() -> dict[str, dict[str, Any]]:
    """The `[scopes]` and `[roles]` of `watchword.toml`, for a server without an app.

    Raises:
        ConfigError: one of them is not a table, or the file is not TOML.
    """
    document = _toml()
    found = {name: document.get(name, {}) for name in _TABLES}
    for name, table in found.items():
        if not isinstance(table, dict):
            raise ConfigError(
                f"[{name}] is not a table.",
                why=f"{_toml_path()} gives {name} a single value",
                fix='[scopes]\n"items:read" = "See your items"',
            )
    return found


def _toml_path() -> Path:
    return Path(os.environ.get(CONFIG, "watchword.toml"))


def _toml() -> dict[str, Any]:
    path = _toml_path()
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if CONFIG not in os.environ:
            return {}
        raise ConfigError(
            f"{CONFIG} names a file that is not there.", why=str(path), fix="watchword init"
        ) from None
    except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ConfigError(
            f"{path} cannot be read.", why=str(error), fix="see docs/settings.md"
        ) from None


def load(**keywords: Any) -> Settings:
    """Read the settings and check that they can be served with.

    Raises:
        ConfigError: an unknown name, a value that is not of its form, or a production
            server that would not be safe.
    """
    _no_unknown(keywords, "keyword of Auth", str)
    _no_unknown(_variables(), "variable", lambda name: PREFIX + name.upper())
    try:
        settings = Settings(**keywords)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        if first["type"] == "extra_forbidden":
            _no_unknown({name: None}, "key", str)
        raise ConfigError(
            f"The setting {name} is not of its form.",
            why=str(first["msg"]),
            fix=f"see {name} in docs/settings.md",
        ) from None
    return _checked(_completed(settings))


def _variables() -> dict[str, str]:
    found = {}
    for name, value in os.environ.items():
        if name.startswith(PREFIX) and name != CONFIG:
            found[name.removeprefix(PREFIX).lower().removesuffix("_file")] = value
    return found


def _no_unknown(given: Mapping[str, Any], what: str, spelled: Any) -> None:
    for name in given:
        if name not in Settings.model_fields:
            near = difflib.get_close_matches(name, Settings.model_fields, n=1)
            raise ConfigError(
                f"There is no {what} {spelled(name)}.",
                why="a misspelt setting would silently leave its default in force",
                fix=f"did you mean {spelled(near[0])}?" if near else "see docs/settings.md",
            )


def _completed(settings: Settings) -> Settings:
    """Fill in what development needs no decision for."""
    issuer = settings.issuer.rstrip("/")
    env = settings.env
    if "env" not in settings.model_fields_set and os.environ.get("FASTAPI_ENV") == "development":
        env = "development" if is_loopback(issuer or _DEV_ISSUER) else env
    changes: dict[str, Any] = {"issuer": issuer, "env": env}
    if env == "development":
        changes["issuer"] = issuer or _DEV_ISSUER
        if not settings.secret:
            changes["secret"] = _kept_secret(settings)
    if "migrate" not in settings.model_fields_set and env == "development":
        changes["migrate"] = "auto"
    return settings.model_copy(update=changes)


_DEV_ISSUER = "http://localhost:8000"


def _kept_secret(settings: Settings) -> str:
    """Development's own secret, in a file only its owner can read, made at first use."""
    if settings.database_path == ":memory:":
        return secrets.token_urlsafe(32)
    path = Path(settings.database_path).parent / ".watchword" / "secret"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise ConfigError(
                f"{path} can be read by others.",
                why="it seals the signing keys",
                fix=f"delete it to get a new one, or: chmod 600 {path}",
            ) from None
        return path.read_text(encoding="ascii")
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32))
    (path.parent / ".gitignore").write_text("*\n", encoding="ascii")
    return path.read_text(encoding="ascii")


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked(settings: Settings) -> Settings:
    if not settings.database_url.startswith("sqlite://"):
        raise ConfigError(
            "DATABASE_URL is not one this version can open.",
            why="it knows sqlite:///path and sqlite:///:memory:",
            fix="set WATCHWORD_DATABASE_URL=sqlite:///./watchword.db",
        )
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", settings.prefix):
        raise ConfigError(
            "PREFIX is not a path.", why="it must begin with / and not end with it", fix="/auth"
        )
    if settings.key_overlap < settings.access_ttl + 600:
        raise ConfigError(
            "KEY_OVERLAP is shorter than the life of an access token.",
            why="good tokens would be refused after a rotation",
            fix="set WATCHWORD_KEY_OVERLAP=7d",
        )
    _check_issuer(settings)
    _check_origins(settings)
    _check_secret(settings)
    return settings


def _check_origins(settings: Settings) -> None:
    for origin in settings.browser_origins:
        parts = urlsplit(origin)
        plain = f"{parts.scheme}://{parts.netloc}".lower()
        safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(origin))
        if not safe or origin != plain or "@" in parts.netloc or "*" in origin:
            raise ConfigError(
                f"BROWSER_ORIGINS has {origin!r}, which is not one web origin.",
                why="pages of a listed origin may spend tokens; `*` and `null` would be any page",
                fix="name each as a browser sends it: https://app.example.com",
            )


def _check_issuer(settings: Settings) -> None:
    if not settings.issuer:
        raise ConfigError(
            "ISSUER is missing.",
            why="tokens name the server that made them, and the Host header can be forged",
            fix="set WATCHWORD_ISSUER=https://your.host; at home: WATCHWORD_ENV=development",
        )
    parts = urlsplit(settings.issuer)
    if parts.query or parts.fragment or not parts.hostname or "@" in parts.netloc:
        raise ConfigError(
            "ISSUER is not a plain URL.",
            why="an issuer has a scheme, a host and perhaps a path; no query, fragment or user "
            "(RFC 8414 section 2)",
            fix="set WATCHWORD_ISSUER=https://your.host",
        )
    if settings.is_development and not is_loopback(settings.issuer):
        raise ConfigError(
            "Development mode is for this machine only, and ISSUER names another.",
            why="it relaxes what keeps a public server safe",
            fix="leave WATCHWORD_ENV out, or set WATCHWORD_ISSUER=http://localhost:8000",
        )
    if not settings.is_development and parts.scheme != "https":
        raise ConfigError(
            "ISSUER is not https.",
            why="tokens and passwords would cross the network in clear",
            fix="set WATCHWORD_ISSUER=https://your.host; TLS may end at a proxy in front",
        )
    if parts.scheme not in ("https", "http"):
        raise ConfigError(
            "ISSUER is not a web address.", fix="set WATCHWORD_ISSUER=https://your.host"
        )


# Keys that tutorials and examples publish: everybody has them.
_PUBLISHED = frozenset(
    {
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "your-256-bit-secret",
        "a-string-secret-at-least-256-bits-long",
    }
)
_WORDS = re.compile(
    r"(?i)(change[\s_-]?(me|this|it)|secret|password|passwort|default|example|insecure|your[\s_-]|"
    r"supersecret|jwt|test|admin|qwerty|letmein|0123456789|abcdefgh)"
)
_SHORTEST = 32
_FEWEST_CHARACTERS = 12


def weakness(secret: str) -> str | None:
    """Why a secret is not fit for production, or None."""
    if len(secret.encode("utf-8", "surrogateescape")) < _SHORTEST:
        return "it is shorter than 32 bytes"
    if secret.strip().lower() in _PUBLISHED:
        return "it is printed in a public tutorial"
    if len(set(secret)) < _FEWEST_CHARACTERS or _repeats_itself(secret):
        return "it repeats too few characters to be random"
    if sum(abs(ord(b) - ord(a)) <= 1 for a, b in pairwise(secret)) > len(secret) // 2:
        return "it is a row of neighbours, as on a keyboard or in the alphabet"
    if len(_WORDS.sub("", secret)) < _SHORTEST // 2:
        return "it is made of words that are tried first"
    return None


def _repeats_itself(secret: str) -> bool:
    periods = range(1, len(secret) // 2 + 1)
    return any(secret[period:] == secret[:-period] for period in periods)


def _check_secret(settings: Settings) -> None:
    for name, secret in (
        ("SECRET", settings.secret),
        ("SECRET_PREVIOUS", settings.secret_previous),
    ):
        if not secret and name == "SECRET_PREVIOUS":
            continue
        reason = "it is missing" if not secret else weakness(secret)
        if reason is not None:
            raise ConfigError(
                f"{name} is not fit for use: {reason}.",
                why="whoever guesses it can make tokens of their own",
                fix='set WATCHWORD_SECRET to the output of: python -c "import secrets; '
                'print(secrets.token_urlsafe(32))"',
            )
