"""Wire parameters -> one typed ask.

A parameter may come once; empty means absent; what is unknown is ignored
(RFC 6749 section 3.1 and 3.2). The result is a closed union, one class per grant
type, so that nothing behind this file handles a field that is required but missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from watchword.errors import InvalidRequest, UnsupportedGrantType
from watchword.rules.scopes import Scopes

MOST_FIELDS = 64
LONGEST_NAME = 255  # characters of a user name
LONGEST_VALUE = 8192  # characters of any other value; the longest honest one is a token
LONGEST_WAIT = 30.0  # seconds that an answer about the revocation log is put off
_WHOLE = re.compile(r"[0-9]{1,18}")
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What no database is asked for as it is: hashed, parsed, or ignored where it is odd.
_NEVER_KEPT = frozenset({"password", "client_secret", "token", "refresh_token", "token_type_hint"})
_REPEATABLE = frozenset({"resource"})  # RFC 8707 section 2


Form = dict[str, str]


def form(body: bytes) -> Form:
    """Read an `application/x-www-form-urlencoded` body.

    Raises:
        InvalidRequest: not of that form, too many fields, a field twice, or text that
            is not UTF-8.
    """
    try:
        text = body.decode("ascii")
        if _BAD_ESCAPE.search(text):
            raise InvalidRequest("The body has a broken percent-encoding.")
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=MOST_FIELDS,
            separator="&",
        )
    except ValueError:
        raise InvalidRequest("The body is not a well-formed form.") from None
    fields: Form = {}
    for name, value in pairs:
        if name in fields and not (name in _REPEATABLE and fields[name] == value):
            raise InvalidRequest("A parameter was sent more than once.", detail=name[:64])
        if "\0" in value and name not in _NEVER_KEPT:
            # RFC 6749 appendix A has it in no parameter, and PostgreSQL no place for it.
            raise InvalidRequest("A parameter holds a character that it cannot.", detail=name[:64])
        fields[name] = value
    return {name: value for name, value in fields.items() if value != ""}


@dataclass(frozen=True, slots=True)
class PasswordAsk:
    """The tutorial's login form, `grant_type=password` or none."""

    username: str = field(repr=False)  # people type passwords into the wrong field
    password: str = field(repr=False)
    scope: Scopes
    grant_type = "password"


@dataclass(frozen=True, slots=True)
class RefreshAsk:
    """RFC 6749 section 6."""

    refresh_token: str = field(repr=False)
    scope: Scopes
    grant_type = "refresh_token"


@dataclass(frozen=True, slots=True)
class ClientCredentialsAsk:
    """RFC 6749 section 4.4."""

    scope: Scopes
    resource: str | None
    grant_type = "client_credentials"


TokenAsk = PasswordAsk | RefreshAsk | ClientCredentialsAsk


def token_ask(fields: Form) -> TokenAsk:
    """What the token endpoint is asked for.

    Raises:
        InvalidRequest: a parameter is missing or not of its form.
        InvalidScope: the scope is malformed.
        UnsupportedGrantType: no such grant type.
    """
    grant_type = fields.get("grant_type")
    if grant_type is None and "username" in fields:
        grant_type = "password"  # the tutorial's form carries no grant_type
    if grant_type is None:
        raise InvalidRequest("grant_type is missing.")
    scope = Scopes.parse(fields.get("scope"))
    match grant_type:
        case "password":
            return PasswordAsk(
                username=name(_required(fields, "username")),
                password=_required(fields, "password"),
                scope=scope,
            )
        case "refresh_token":
            return RefreshAsk(value(_required(fields, "refresh_token")), scope)
        case "client_credentials":
            return ClientCredentialsAsk(scope, fields.get("resource"))
    raise UnsupportedGrantType("This grant type is not supported.")


def token_parameter(fields: Form) -> str:
    """The `token` of revocation and introspection, whatever it looks like: one that nobody
    ever issued is no error there (RFC 7009 section 2.2, RFC 7662 section 2.2).

    Raises:
        InvalidRequest: it is missing.
    """  # noqa: D205
    return _required(fields, "token")


@dataclass(frozen=True, slots=True)
class LogAsk:
    """What somebody who follows the revocation log asks: what is behind a position of it.

    Attributes:
        after: the position's number.
        epoch: the position's epoch; 0 for who knows nothing yet.
        wait: seconds to wait when there is nothing.
        within: seconds that the answerer's knowledge may be old, where its own bound is more.
    """

    after: int
    epoch: int
    wait: float
    within: float | None


def log_ask(fields: Form) -> LogAsk:
    """What is asked of the log.

    Raises:
        InvalidRequest: a parameter is not of its form.
    """
    return LogAsk(
        int(_number(fields, "after", whole=True)),
        int(_number(fields, "epoch", whole=True)),
        min(_number(fields, "wait"), LONGEST_WAIT),
        _number(fields, "within") if "within" in fields else None,
    )


def _number(fields: Form, name: str, *, whole: bool = False) -> float:
    text = fields.get(name, "0")
    if not (_WHOLE if whole else _SECONDS).fullmatch(text):
        raise InvalidRequest(f"{name} is not a number.")
    return int(text) if whole else float(text)


def name(text: str) -> str:
    """A user name as typed.

    Raises:
        InvalidRequest: too long, or with control characters.
    """
    if len(text) > LONGEST_NAME or not text.isprintable():
        raise InvalidRequest("The username is not well-formed.")
    return text


def value(text: str) -> str:
    """An opaque value: printable ASCII, of bounded length.

    Raises:
        InvalidRequest: it is not.
    """
    if len(text) > LONGEST_VALUE or not (text.isascii() and text.isprintable()):
        raise InvalidRequest("A parameter is not well-formed.")
    return text


def _required(fields: Form, name: str) -> str:
    found = fields.get(name)
    if found is None:
        raise InvalidRequest(f"{name} is missing.")
    return found
