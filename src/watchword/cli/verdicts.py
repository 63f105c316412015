"""Why a token is refused: the server's own judgement, and then every reason in plain words.

The server names one reason, in its log only. A person who looks for the cause wants
all of them; so the checks are made one by one here, and the server's verdict stays
the one that counts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from watchword.cli.desk import Desk
from watchword.cli.output import counted, when
from watchword.crypto import jose
from watchword.crypto.jwk import ALGORITHMS
from watchword.crypto.keys import Keyring
from watchword.crypto.refresh_tokens import PREFIX as REFRESH
from watchword.crypto.refresh_tokens import RefreshTokens
from watchword.crypto.strict import Malformed, decode64, json_object
from watchword.crypto.tickets import PREFIX as TICKET
from watchword.errors import InvalidToken
from watchword.guard.revocations import Revocations
from watchword.rules import access, claims, refresh
from watchword.rules.access import LEEWAY, AccessToken, Expectation

_GRANT_ID = 16  # bytes at the head of a refresh token
_TIMES = ("iat", "exp", "nbf", "auth_time")


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer, as a sentence."""

    good: bool
    sentence: str


@dataclass(slots=True)
class Verdict:
    """What a token is and whether this server accepts it now."""

    kind: str
    good: bool = False
    checks: list[Check] = field(default_factory=list)
    content: dict[str, Any] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, object]:
        """The content for people: times as times, the rest as JSON."""
        return {
            name: f"{value} ({when(value)})"
            if name in _TIMES and isinstance(value, int | float) and 0 <= value < 2**33
            else value
            if isinstance(value, str)
            else json.dumps(value)
            for name, value in self.content.items()
        }

    def note(self, yes: str, no: str, *, good: bool) -> None:
        """Record one answer."""
        self.checks.append(Check(good, yes if good else no))


async def judged(text: str, at: Desk) -> Verdict:
    """The verdict on whatever was given."""
    if text.startswith(REFRESH):
        return await _refresh_token(text, at)
    if text.startswith("gs_"):
        return Verdict("a client secret", checks=[Check(False, "It is not a token: keep it safe.")])  # noqa: FBT003
    if text.startswith(TICKET):
        no = "It opens one WebSocket or event stream within half a minute, and says nothing."
        return Verdict("a ticket", checks=[Check(False, no)])  # noqa: FBT003
    return await _access_token(text, at)


async def _access_token(text: str, at: Desk) -> Verdict:
    try:
        header, payload = _read(text)
    except Malformed:
        no = "It is not three base64url parts with JSON inside; perhaps it was cut when copied."
        return Verdict("not a token", checks=[Check(False, no)])  # noqa: FBT003
    verdict = Verdict("an access token", content={**header, **payload})
    keys = await at.store.keys()
    ring = Keyring.of(at.ours(keys), at.settings.secrets)
    _check_key(verdict, header, ring, at, {key.kid for key in keys})
    _check_claims(verdict, payload, at)
    await _check_principals(verdict, payload, at)
    found = _accepted(verdict, text, ring, at)
    if found is None:
        return verdict
    log = Revocations(at.store)
    log.catch_up(at.now)
    verdict.good = not log.refuse(found)
    verdict.note("It has not been revoked.", "It was revoked.", good=verdict.good)
    return verdict


def _accepted(verdict: Verdict, text: str, ring: Keyring, at: Desk) -> AccessToken | None:
    """The token as the server's own rules accept it; the reason they give otherwise."""
    mine = Expectation(at.settings.issuer, at.settings.audience)
    try:
        jws = jose.verify(text, ring.verifiers(at.now), typ=claims.TYPES)
        verdict.note("The signature is good.", "", good=True)
        return access.judged(jws.claims, mine, at.now)
    except InvalidToken as refusal:
        if refusal.detail == "bad signature":
            no = "The signature is not by that key: the token was altered, or cut."
            verdict.note("", no, good=False)
        elif all(check.good for check in verdict.checks):
            verdict.note("", f"The server refuses it: {refusal.detail}.", good=False)
        return None


def _read(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and payload, unverified; the signature part is never looked at."""
    parts = text.split(".")
    if len(parts) != 3 or len(text) > jose.MAX_SIZE or not text.isascii():  # noqa: PLR2004
        raise Malformed("not a compact JWS")
    header, payload = (json_object(decode64(part.encode("ascii"))) for part in parts[:2])
    return header, payload


def _check_key(
    verdict: Verdict, header: dict[str, Any], ring: Keyring, at: Desk, stored: set[str]
) -> None:
    kid, alg, typ = (header.get(name) for name in ("kid", "alg", "typ"))
    fits = isinstance(typ, str) and typ.lower().removeprefix("application/") in claims.TYPES
    verdict.note(
        "It is of the kind at+jwt (RFC 9068).",
        "Its typ is not at+jwt: an ID token, or another server's.",
        good=fits,
    )
    verdict.note(
        "Its algorithm is one this server knows.",
        "Its alg is none, or symmetric, or unknown: no such token is ever accepted.",
        good=alg in ALGORITHMS,
    )
    if isinstance(kid, str) and kid in stored and kid.startswith(claims.DEV_KID):
        no = "Development signed it; a production server accepts none of those."
    elif isinstance(kid, str) and kid in stored and at.settings.is_development:
        no = "Production signed it; development has keys of its own."
    elif isinstance(kid, str) and kid in stored:
        no = "The key that signed it has been retired."
    else:
        no = "This server has no key by its kid: another server, or another database, made it."
    known = isinstance(kid, str) and ring.verifiers(at.now).knows(kid)
    verdict.note("The key it names verifies now.", no, good=known)


def _check_claims(verdict: Verdict, payload: dict[str, Any], at: Desk) -> None:
    issuer, audience = at.settings.issuer, at.settings.audience
    verdict.note(
        f"The issuer is {issuer}.",
        f"The issuer (iss) is not exactly {issuer}.",
        good=payload.get("iss") == issuer,
    )
    named = payload.get("aud")
    verdict.note(
        f"It is for {audience}.",
        f"It is not for {audience} alone: its audience (aud) is another.",
        good=named in (audience, [audience]),
    )
    expires = payload.get("exp")
    if isinstance(expires, bool) or not isinstance(expires, int | float):
        verdict.note("", "It has no expiry (exp).", good=False)
        return
    left = int(expires - at.now)
    verdict.note(
        f"It expires in {counted(max(left, 0), 'second')}.",
        f"It expired {counted(-left, 'second')} ago; use the refresh token.",
        good=at.now < expires + LEEWAY,
    )
    begins = [payload[name] for name in ("iat", "nbf") if isinstance(payload.get(name), int)]
    if any(one > at.now + LEEWAY for one in begins):
        verdict.note("", "It is from the future: a clock is wrong.", good=False)


async def _check_principals(verdict: Verdict, payload: dict[str, Any], at: Desk) -> None:
    subject, client_id = payload.get("sub"), payload.get("client_id")
    if isinstance(client_id, str) and await at.store.client(client_id) is None:
        verdict.note("", "The client it was made for is not registered here.", good=False)
    if not isinstance(subject, str) or subject == client_id:
        return
    found = await at.by_subject(subject)
    if found is not None:
        state = "is disabled" if found.disabled else "may sign in"
        verdict.note(f"Its user {state}.", f"Its user {state}.", good=not found.disabled)


async def _refresh_token(text: str, at: Desk) -> Verdict:
    verdict = Verdict("a refresh token")
    try:
        grant_id = decode64(text.removeprefix(REFRESH).encode("ascii"))[:_GRANT_ID]
    except (Malformed, UnicodeEncodeError):
        verdict.note("", "It is damaged; perhaps it was cut when copied.", good=False)
        return verdict
    grant = await at.store.grant(grant_id)
    if grant is None:
        verdict.note(
            "", "There is no such grant: it ran out long ago, or it is not ours.", good=False
        )
        return verdict
    verdict.content = {
        "grant": grant.id.hex(),
        "sub": grant.user_id,
        "client_id": grant.client_id,
        "scope": str(grant.scopes),
        "auth_time": grant.auth_time,
        "exp": min(grant.idle_until, grant.expires_at),
    }
    presented = RefreshTokens(at.settings.secrets).read(text, grant.client_id)
    verdict.note(
        "This server made it.",
        "This server did not make it: its MAC is not ours.",
        good=presented is not None,
    )
    if presented is None:
        return verdict
    asked = refresh.RefreshToken(
        presented.grant_id, presented.generation, presented.proof, presented.client_id
    )
    standing = refresh.judged(asked, grant, at.now, at.settings.refresh_replay)
    good, sentence = _STANDINGS[standing]
    verdict.note(sentence, sentence, good=good)
    verdict.good = good
    return verdict


_STANDINGS = {
    refresh.Standing.NEWEST: (True, "It is the newest of its grant."),
    refresh.Standing.JUST_SPENT: (True, "It was spent just now; its successor is answered again."),
    refresh.Standing.AHEAD: (True, "It is newer than the database, which will follow it."),
    refresh.Standing.REUSED: (False, "It was spent long ago; presenting it ends the whole grant."),
    refresh.Standing.DEAD: (
        False,
        "Its grant has ended: revoked, run out, or the user is disabled.",
    ),
    refresh.Standing.FORGED: (False, "Its secret part is not that of the grant."),
    refresh.Standing.TOO_FAR: (False, "It is too far ahead of the database to be believed."),
}
