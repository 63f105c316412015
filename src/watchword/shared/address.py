"""Where Redis is: one server, a service that sentinels watch over, or a cluster.

One reader for every form, so that a misspelt option is refused and a password is in
no message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from watchword.errors import ConfigError

Kind = Literal["server", "sentinel", "cluster"]

_SCHEMES: Mapping[str, tuple[Kind, bool]] = {  # what it is, and whether by TLS
    "redis": ("server", False),
    "rediss": ("server", True),
    "unix": ("server", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_PORT, _SENTINEL_PORT = 6379, 26379
_SOCKET = ("db", "password")
_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SENTINEL = ("sentinel_username", "sentinel_password")
_FORMS = (
    "redis://host:6379/0, rediss://user:password@host:6379/0, unix:///path?db=0, "
    "redis+sentinel://host:26379,host:26379/service/0, redis+cluster://host:6379,host:6379"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A REDIS_URL, read. Its text and its `repr` hold no password.

    Attributes:
        hosts: servers, sentinels, or nodes of the cluster; none for a socket's path.
        service: the name that sentinels know the server by.
        options: files for TLS, and the sentinels' own credentials.
    """

    kind: Kind
    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    tls: bool = False
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read it.

        Raises:
            ConfigError: it is of no known form; the message does not repeat it.
        """
        try:
            return _parsed(url.strip())
        except ValueError as error:
            raise ConfigError("REDIS_URL cannot be used.", why=str(error), fix=_FORMS) from None

    def __str__(self) -> str:
        """The place, fit for a log."""
        hosts = ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts
        )
        service = f"/{self.service}" if self.service else ""
        db = f"/{self.db}" if self.kind != "cluster" and not self.path else ""
        return f"{self.scheme}://{hosts}{self.path}{service}{db}"

    def turned(self, turns: int) -> tuple[tuple[str, int], ...]:
        """The hosts, beginning with another one each turn: the first may be the dead one."""
        by = turns % max(1, len(self.hosts))
        return self.hosts[by:] + self.hosts[:by]

    def without_secrets(self, text: str) -> str:
        """`text` with every secret of this address blotted out."""
        for secret in (self.password, self.options.get("sentinel_password")):
            text = text.replace(secret, "***") if secret else text
        return text


def _parsed(url: str) -> Address:
    scheme, mark, _ = url.partition("://")
    if not mark or scheme not in _SCHEMES:
        raise ValueError("it begins with none of " + " ".join(f"{name}://" for name in _SCHEMES))
    kind, tls = _SCHEMES[scheme]
    parts = urlsplit(url)
    if parts.fragment:
        raise ValueError("it has a fragment; a # in a password is written %23")
    user, at, places = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    options = _options(parts.query, kind, tls=tls, socket=scheme == "unix")
    if "password" in options and at:
        raise ValueError("it has two passwords")
    path = unquote(parts.path)
    if scheme == "unix":
        if places or len(path) < len("/x"):
            raise ValueError("a socket needs a path: unix:///run/redis.sock")
        service, db = "", ""
    else:
        service, db = _service_and_db(path, kind)
        path = ""
    return Address(
        kind=kind,
        scheme=scheme,
        hosts=() if scheme == "unix" else tuple(_hosts(places, kind)),
        path=path,
        service=service,
        db=_number(options.pop("db", "") or db),
        tls=tls,
        username=unquote(name) or None,
        password=options.pop("password", "") or unquote(password) or None,
        options=options,
    )


def _hosts(places: str, kind: Kind) -> Iterator[tuple[str, int]]:
    if kind == "server" and "," in places:
        raise ValueError("several hosts are redis+sentinel:// or redis+cluster://")
    for place in places.split(","):
        try:
            one = urlsplit(f"//{place}")
            host, port = one.hostname, one.port
        except ValueError:
            raise ValueError("a port is a number from 1 to 65535") from None
        if not host or port == 0:
            raise ValueError("a host is missing")
        yield host, port or (_SENTINEL_PORT if kind == "sentinel" else _PORT)


def _service_and_db(path: str, kind: Kind) -> tuple[str, str]:
    words = path.strip("/").split("/") if path.strip("/") else []
    if kind == "sentinel":
        if not words:
            raise ValueError("the service's name is missing: redis+sentinel://host/service")
        service, *words = words
    else:
        service = ""
    if words and kind == "cluster":
        raise ValueError("a cluster has no numbered databases")
    if len(words) > 1:
        raise ValueError("there is too much behind the hosts")
    return service, words[0] if words else ""


def _number(db: str) -> int:
    if not db:
        return 0
    if not (db.isascii() and db.isdecimal()):
        raise ValueError("the database is not a number")
    return int(db)


def _options(query: str, kind: Kind, *, tls: bool, socket: bool) -> dict[str, str]:
    known = set(_SOCKET if socket else ())
    known |= set(_TLS if tls else ())
    known |= set(_SENTINEL if kind == "sentinel" else ())
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            others = f"; it knows {', '.join(sorted(known))}" if known else ""
            raise ValueError(f"it has an option {name!r} that means nothing{others}")
        if name in found:
            raise ValueError(f"it has {name} twice")
        found[name] = value
    return found
