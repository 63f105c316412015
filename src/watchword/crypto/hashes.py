"""Reading stored password hashes, our own and those brought along from elsewhere.

Every form is reduced to the same three facts: the scheme, the digest, and how to
derive a digest from a candidate password. The text is data from outside (an import,
a restored table), so it is held to a grammar and to ceilings on its cost *before*
any work: no stored hash may take more than about two seconds or 256 MiB.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass

import bcrypt
from argon2.low_level import Type, hash_secret_raw

_STORED = 512  # characters; the longest honest form stays under 300
_MEMORY_KIB = 262_144
_DIGEST = range(16, 65)  # bytes; an empty or short digest would match too much

_ARGON2_TYPES = {"argon2id": Type.ID, "argon2i": Type.I, "argon2d": Type.D}
_ARGON2_SALT = 8  # bytes, RFC 9106 section 3.1
_ARGON2_LANES = 16
_ARGON2_PASSES = 64  # with lanes each pass starts threads: their number is a cost of its own
_ARGON2_WORK = 1 << 20  # KiB times passes, about a second; RFC 9106's second choice is 196,608

_BCRYPT_COSTS = range(4, 16)  # 15 takes a good two seconds
_BCRYPT_BYTES = 72

_PBKDF2_ROUNDS = {"sha1": 4_000_000, "sha256": 4_000_000, "sha512": 2_000_000}

_SCRYPT_WORK = 512 << 20  # bytes: 128 * n * r * p
_SCRYPT_PART = 64  # for r and for p


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """A stored hash, understood and known to be affordable.

    Attributes:
        scheme: its name, such as `argon2id` or `pbkdf2_sha256`.
        digest: what the right password derives to.
        derive: from password bytes to digest; takes its full time whatever they are.
    """

    scheme: str
    digest: bytes
    derive: Callable[[bytes], bytes]

    def matches(self, password: bytes) -> bool:
        """Tell whether `password` is the one that was hashed."""
        same = hmac.compare_digest(self.derive(password), self.digest)
        # bcrypt repeats a short key with a NUL between, HMAC (so PBKDF2 and scrypt) fills it
        # up with NULs: passwords that differ in these derive alike. Argon2 hashes the length.
        return same and (b"\0" not in password or self.scheme in _ARGON2_TYPES)


def read(stored: str) -> PasswordHash:
    """Read the text of a stored hash, in any of the forms that can be verified.

    Raises:
        ValueError: the form is unknown, a part is malformed, or the cost is over a ceiling.
    """
    if len(stored) > _STORED:
        raise ValueError(f"longer than {_STORED} characters: no password hash is")
    for form in _FORMS:
        if found := re.fullmatch(form.pattern, stored):
            return form.read(found.groupdict())
    raise ValueError("not a password hash of a form that can be verified")


def argon2_fits(memory_kib: int, passes: int, lanes: int = 1) -> None:
    """Hold an Argon2 cost to RFC 9106 section 3.1 and to our ceilings.

    Args:
        memory_kib: the memory, in KiB.
        passes: how often it is walked.
        lanes: how many threads may share the walk.

    Raises:
        ValueError: says which bound is broken.
    """
    if not 1 <= lanes <= _ARGON2_LANES:
        raise ValueError(f"Argon2 p={lanes}, allowed 1 to {_ARGON2_LANES}")
    if not 8 * lanes <= memory_kib <= _MEMORY_KIB:
        raise ValueError(f"Argon2 m={memory_kib} KiB, allowed {8 * lanes} to {_MEMORY_KIB}")
    if not 1 <= passes <= _ARGON2_PASSES:
        raise ValueError(f"Argon2 t={passes}, allowed 1 to {_ARGON2_PASSES}")
    if memory_kib * passes > _ARGON2_WORK:
        raise ValueError(f"Argon2 m*t={memory_kib * passes}, allowed up to {_ARGON2_WORK}")


def _argon2(
    *, variant: str, v: str | None, m: str, t: str, p: str, salt: bytes, digest: bytes
) -> PasswordHash:
    argon2_fits(int(m), int(t), int(p))
    if len(salt) < _ARGON2_SALT:
        raise ValueError(f"Argon2 salt of {len(salt)} bytes, at least {_ARGON2_SALT} needed")
    size = len(_checked(digest))

    def derive(password: bytes) -> bytes:
        # From the values checked above, never from the text: a second parser might see
        # another cost in it. A missing version means 1.0, written 16.
        kind, version = _ARGON2_TYPES[variant], int(v or 16)
        return hash_secret_raw(password, salt, int(t), int(m), int(p), size, kind, version)

    return PasswordHash(variant, digest, derive)


def _bcrypt(*, prehash: str | None, cost: str, salt: bytes, digest: bytes) -> PasswordHash:
    if int(cost) not in _BCRYPT_COSTS:
        raise ValueError(f"bcrypt cost {cost}, allowed {_BCRYPT_COSTS[0]} to {_BCRYPT_COSTS[-1]}")

    def derive(password: bytes) -> bytes:
        if prehash:
            password = hashlib.sha256(password).hexdigest().encode()
        # Whoever made this hash cut at 72 bytes, knowingly or not; bcrypt 5 refuses more.
        return bcrypt.hashpw(password[:_BCRYPT_BYTES], salt)

    return PasswordHash("bcrypt_sha256" if prehash else "bcrypt", salt + digest, derive)


def _pbkdf2(*, algorithm: str | None, rounds: str, salt: bytes, digest: bytes) -> PasswordHash:
    name, count = algorithm or "sha1", int(rounds)  # passlib leaves its oldest one unnamed
    if not 1 <= count <= _PBKDF2_ROUNDS[name]:
        raise ValueError(f"PBKDF2 of {count} rounds, allowed 1 to {_PBKDF2_ROUNDS[name]}")
    # A longer digest would cost the whole chain again for each block (RFC 8018 section 5.2).
    if len(digest) != hashlib.new(name).digest_size:
        raise ValueError(f"PBKDF2 digest of {len(digest)} bytes is no {name} digest")

    def derive(password: bytes) -> bytes:
        return hashlib.pbkdf2_hmac(name, password, salt, count)

    return PasswordHash(f"pbkdf2_{name}", digest, derive)


def _scrypt(
    *, r: str, p: str, salt: bytes, digest: bytes, n: str = "", ln: str = ""
) -> PasswordHash:
    rows, width, lanes = (1 << int(ln) if ln else int(n)), int(r), int(p)
    if not (1 <= width <= _SCRYPT_PART and 1 <= lanes <= _SCRYPT_PART):
        raise ValueError(f"scrypt r={width}, p={lanes}, allowed 1 to {_SCRYPT_PART}")
    # RFC 7914 section 2: n is a power of two, above 1 and below 2^(16 r).
    if rows & (rows - 1) or not 1 < rows < 1 << 16 * width:
        raise ValueError(f"scrypt n={rows} is not a power of two that r={width} allows")
    table, size = 128 * rows * width, len(_checked(digest))
    if table > _MEMORY_KIB << 10 or table * lanes > _SCRYPT_WORK:
        raise ValueError(f"scrypt n={rows}, r={width}, p={lanes} costs more than is allowed")

    def derive(password: bytes) -> bytes:
        # OpenSSL counts the p blocks and two more rows beside the table.
        room = 128 * width * (rows + lanes + 2)
        return hashlib.scrypt(
            password, salt=salt, n=rows, r=width, p=lanes, maxmem=room, dklen=size
        )

    return PasswordHash("scrypt", digest, derive)


def _checked(digest: bytes) -> bytes:
    if len(digest) not in _DIGEST:
        raise ValueError(f"digest of {len(digest)} bytes, allowed {_DIGEST[0]} to {_DIGEST[-1]}")
    return digest


def _base64(text: str) -> bytes:
    """Decode base64, padded or not, also with passlib's `.` for `+`."""
    text = text.replace(".", "+").rstrip("=")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


@dataclass(frozen=True, slots=True)
class _Form:
    """One way to write a hash: its grammar, and how it spells salt and digest."""

    pattern: str
    scheme: Callable[..., PasswordHash]
    salt: Callable[[str], bytes] = _base64
    digest: Callable[[str], bytes] = _base64

    def read(self, parts: dict[str, str]) -> PasswordHash:
        salt, digest = self.salt(parts.pop("salt")), self.digest(parts.pop("digest"))
        return self.scheme(**parts, salt=salt, digest=digest)


def _number(name: str) -> str:
    # ASCII digits only (`int` reads others too), and few: long ones are slow to convert.
    return rf"(?P<{name}>[0-9]{{1,9}})"


_PLAIN_SALT = r"(?P<salt>[!-#%-~]+)"  # printable ASCII but for `$`
_BASE64 = r"\$(?P<salt>[A-Za-z0-9+/.]+={0,2})\$(?P<digest>[A-Za-z0-9+/.]+={0,2})"
_BASE64_DIGEST = r"(?P<digest>[A-Za-z0-9+/]+={0,2})"
_HEX_DIGEST = r"(?P<digest>[0-9a-f]+)"
_SHA = r"(?P<algorithm>sha1|sha256|sha512)"
_R, _P = _number("r"), _number("p")

_FORMS = (
    _Form(  # PHC; with a prefix, Django
        r"(?:argon2)?\$(?P<variant>argon2(?:id|i|d))(?:\$v=(?P<v>16|19))?"
        rf"\$m={_number('m')},t={_number('t')},p={_P}{_BASE64}",
        _argon2,
    ),
    _Form(  # crypt(3); with a prefix, Django. Spare bits of the salt must be zero.
        r"(?:bcrypt\$|(?P<prehash>bcrypt_sha256\$))?"
        r"(?P<salt>\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu])"
        r"(?P<digest>[./A-Za-z0-9]{31})",
        _bcrypt,
        salt=str.encode,
        digest=str.encode,
    ),
    _Form(  # Django
        rf"pbkdf2_{_SHA}\${_number('rounds')}\${_PLAIN_SALT}\${_BASE64_DIGEST}",
        _pbkdf2,
        salt=str.encode,
    ),
    _Form(  # passlib
        rf"\$pbkdf2(?:-(?P<algorithm>sha256|sha512))?\${_number('rounds')}{_BASE64}",
        _pbkdf2,
    ),
    _Form(  # Werkzeug
        rf"pbkdf2:{_SHA}:{_number('rounds')}\${_PLAIN_SALT}\${_HEX_DIGEST}",
        _pbkdf2,
        salt=str.encode,
        digest=bytes.fromhex,
    ),
    _Form(  # Django
        rf"scrypt\${_number('n')}\${_PLAIN_SALT}\${_R}\${_P}\${_BASE64_DIGEST}",
        _scrypt,
        salt=str.encode,
    ),
    _Form(  # passlib
        rf"\$scrypt\$ln=(?P<ln>[0-9]{{1,2}}),r={_R},p={_P}{_BASE64}",
        _scrypt,
    ),
    _Form(  # Werkzeug
        rf"scrypt:{_number('n')}:{_R}:{_P}\${_PLAIN_SALT}\${_HEX_DIGEST}",
        _scrypt,
        salt=str.encode,
        digest=bytes.fromhex,
    ),
)
