"""Can these settings be served with? Refuses by name, says why, and how to mend it."""

from __future__ import annotations

import ipaddress
import re
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from watchword.errors import ConfigError

if TYPE_CHECKING:
    from watchword.settings.fields import Settings


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_DATABASES = ("sqlite://", "postgresql://", "postgres://")


def checked(settings: Settings) -> Settings:
    """The same settings, if they can be served with.

    Raises:
        ConfigError: they cannot.
    """
    if not settings.database_url.startswith(_DATABASES):
        raise ConfigError(
            "DATABASE_URL is not one this version can open.",
            why="it knows sqlite:///path, sqlite:///:memory: and postgresql://user@host/name",
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
    if settings.limit_backend == "redis" and not settings.redis_url:
        raise ConfigError(
            "LIMIT_BACKEND is redis, and there is no REDIS_URL.",
            why="attempts would be counted nowhere",
            fix="set WATCHWORD_REDIS_URL=redis://localhost:6379/0",
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
        if not safe or origin != plain or not parts.hostname or "@" in origin or "*" in origin:
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
            fix="watchword init, or set WATCHWORD_ISSUER=https://your.host; "
            "at home: WATCHWORD_ENV=development",
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
    r"(?i)(change[\s_-]?(me|this|it)|secret|password|passwort|default|example|insecure|your|"
    r"supersecret|jwt|test|admin|qwerty|letmein|"
    r"production|development|token|0123456789|abcdefgh|_|-)"
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
        make = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'
        if not secret:
            raise ConfigError(
                "SECRET is missing.",
                why="it seals the signing keys; production makes none by itself, because every "
                "process must have the same",
                fix=f"watchword init writes one into .env; or set WATCHWORD_SECRET to: {make}",
            )
        reason = weakness(secret)
        if reason is not None:
            raise ConfigError(
                f"{name} is not fit for use: {reason}.",
                why="whoever guesses it can make tokens of their own",
                fix=f"set WATCHWORD_{name} to the output of: {make}",
            )
