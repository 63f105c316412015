"""`watchword user`: who may sign in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from watchword.cli.command import Group, opened
from watchword.cli.hidden import new_password
from watchword.cli.output import Output, Refused, confirm, counted, facts, table, when
from watchword.crypto.secrets import fresh
from watchword.rules.logins import folded
from watchword.rules.refresh import Grant
from watchword.rules.scopes import Scopes, well_formed
from watchword.seams import Account, StoredUser

if TYPE_CHECKING:
    from watchword.cli.desk import Desk

_SUBJECT_BITS = 128
_LONGEST_NAME = 255
_ROLE = re.compile(r"[\x21-\x7e]+")

_password = click.option(
    "--password", "source", metavar="SOURCE", help="Where it is: @FILE or env:NAME."
)
_password_stdin = click.option("--password-stdin", is_flag=True, help="Read it from stdin.")
_yes = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group(cls=Group)
def user() -> None:
    """Create, show, disable, sign out users."""


@user.command()
@click.argument("name")
@click.option("--email")
@click.option("--name", "full_name", help="The name people read.")
@click.option("--scope", "scopes", multiple=True, help="What the user may have; repeatable.")
@click.option("--role", "roles", multiple=True, help="A role of the app; repeatable.")
@click.option("--disabled", is_flag=True, help="Nobody can sign in as it yet.")
@_password
@_password_stdin
@click.pass_obj
async def create(
    out: Output,
    *,
    name: str,
    email: str | None,
    full_name: str | None,
    scopes: tuple[str, ...],
    roles: tuple[str, ...],
    disabled: bool,
    source: str | None,
    password_stdin: bool,
) -> None:
    """Create the user NAME."""
    _usable_name(name)
    async with opened() as at:
        at.must_have_users("create the user there")
        if await at.store.user_by_login(name) is not None:
            raise _taken(name)
        password = new_password(
            source, stdin=password_stdin, development=at.settings.is_development
        )
        account = Account(
            sub=fresh("u", _SUBJECT_BITS).clear,
            username=name,
            email=email,
            name=full_name,
            disabled=disabled,
            scopes=Scopes.of(words(scopes, "scope")),
            roles=tuple(dict.fromkeys(words(roles, "role"))),
            created_at=at.now,
        )
        if not await at.store.add_user(StoredUser(account, await at.hashed(password))):
            raise _taken(name)
    out.result(described(account), [f"created {name}", *facts(_for_people(account))])


@user.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--after", default="", metavar="NAME", help="Continue behind this user.")
@click.pass_obj
async def list_(out: Output, *, limit: int, after: str) -> None:
    """List users in the order of their names."""
    async with opened() as at:
        at.must_have_users("list them there; of one: watchword user show NAME")
        found = await at.store.users(after=after, most=limit + 1)
    page = found[:limit]
    rows = [
        (one.username, one.sub, "disabled" if one.disabled else "enabled", one.scopes)
        for one in page
    ]
    out.result(
        [described(one) for one in page], table(("NAME", "SUBJECT", "STATE", "SCOPES"), rows)
    )
    if len(found) > limit:
        out.note(f"more: watchword user list --after {page[-1].username}")


@user.command()
@click.argument("name")
@click.pass_obj
async def show(out: Output, *, name: str) -> None:
    """Show the user NAME (a login or a subject) and what it has granted."""
    async with opened() as at:
        account = await at.user(name)
        grants = await at.store.grants_of(account.sub)
    value = {**described(account), "grants": [_grant(one, at.now) for one in grants]}
    lines = facts(_for_people(account))
    if grants:
        lines += ["", *_grants_table(grants, at.now)]
    out.result(value, lines)


@user.command()
@click.argument("name")
@click.pass_obj
async def sessions(out: Output, *, name: str) -> None:
    """List where NAME is signed in."""
    async with opened() as at:
        account = await at.user(name)
        live = await _live(at, account)
    out.result([_grant(one, at.now) for one in live], _grants_table(live, at.now))


@user.command("revoke-all")
@click.argument("name")
@_yes
@click.pass_obj
async def revoke_all(out: Output, *, name: str, yes: bool) -> None:
    """Sign NAME out everywhere, at once."""
    async with opened() as at:
        account = await at.user(name)
        ended = len(await _live(at, account))
        confirm(f"{counted(ended, 'session')} of {account.username} will end at once.", yes=yes)
        await at.store.revoke_user(account.sub, at.now)
    out.result(
        {"sub": account.sub, "sessions_ended": ended},
        [f"{account.username} is signed out everywhere: {counted(ended, 'session')} ended"],
    )


@user.command()
@click.argument("name")
@_yes
@click.pass_obj
async def disable(out: Output, *, name: str, yes: bool) -> None:
    """Stop NAME from signing in, and sign it out everywhere, at once."""
    await _set_disabled(out, name, disabled=True, yes=yes)


@user.command()
@click.argument("name")
@click.pass_obj
async def enable(out: Output, *, name: str) -> None:
    """Let NAME sign in again; what was ended stays ended."""
    await _set_disabled(out, name, disabled=False, yes=True)


@user.command("set-password")
@click.argument("name")
@_password
@_password_stdin
@_yes
@click.pass_obj
async def set_password(
    out: Output, *, name: str, source: str | None, password_stdin: bool, yes: bool
) -> None:
    """Give NAME a new password, and sign it out everywhere, at once."""
    async with opened() as at:
        account = await at.user(name)
        ended = len(await _live(at, account))
        change = f"The password of {account.username} will change"
        confirm(f"{change}, and {counted(ended, 'session')} will end at once.", yes=yes)
        password = new_password(
            source, stdin=password_stdin, development=at.settings.is_development
        )
        await at.set_password(account, password)
    out.result(
        {"sub": account.sub, "sessions_ended": ended},
        [f"{account.username} has a new password; {counted(ended, 'session')} ended"],
    )


async def _set_disabled(out: Output, name: str, *, disabled: bool, yes: bool) -> None:
    async with opened() as at:
        then = ", then: watchword user revoke-all" if disabled else ""
        at.must_have_users(f"do it there{then}")
        account = await at.user(name)
        ended = len(await _live(at, account)) if disabled else 0
        if disabled and not account.disabled:
            sessions_end = f"and {counted(ended, 'session')} will end at once"
            confirm(f"{account.username} will not be able to sign in, {sessions_end}.", yes=yes)
        changed = await at.store.set_disabled(account.sub, at.now, disabled=disabled)
    state = "disabled" if disabled else "enabled"
    told = f"is {state}" if changed else f"was {state} already"
    out.result(
        {"sub": account.sub, "disabled": disabled, "changed": changed, "sessions_ended": ended},
        [f"{account.username} {told}" + (f"; {counted(ended, 'session')} ended" * disabled)],
    )


async def _live(at: Desk, account: Account) -> list[Grant]:
    return [one for one in await at.store.grants_of(account.sub) if one.lives(at.now)]


def words(given: tuple[str, ...], what: str) -> list[str]:
    """The words of a repeatable option; each may hold several, split at spaces or commas.

    Raises:
        BadParameter: a word with characters that a token cannot carry.
    """
    found = [word for text in given for word in re.split(r"[\s,]+", text) if word]
    fits = well_formed if what == "scope" else _ROLE.fullmatch
    for word in found:
        if not fits(word):
            raise click.BadParameter(
                "it takes printable ASCII without spaces, quotes and backslashes",
                param_hint=f"--{what}",
            )
    return found


def _usable_name(name: str) -> None:
    if not folded(name) or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise click.BadParameter("a name is 1 to 255 printable characters", param_hint="NAME")


def _taken(name: str) -> Refused:
    return Refused(
        f"There is a user {name!r} already, or one whose name differs in case only.",
        fix=f"watchword user show {name}",
    )


def described(account: Account) -> dict[str, Any]:
    """An account as JSON."""
    return {
        "sub": account.sub,
        "username": account.username,
        "email": account.email,
        "name": account.name,
        "disabled": account.disabled,
        "scopes": list(account.scopes),
        "roles": list(account.roles),
        "created_at": account.created_at,
    }


def _for_people(account: Account) -> dict[str, object]:
    pairs = {**described(account), "created_at": when(account.created_at)}
    return {name.replace("_at", ""): value for name, value in pairs.items()}


def _grant(grant: Grant, now: float) -> dict[str, Any]:
    return {
        "id": grant.id.hex(),
        "client_id": grant.client_id,
        "scopes": list(grant.scopes),
        "audience": grant.audience,
        "created_at": grant.created_at,
        "rotated_at": grant.rotated_at,
        "idle_until": grant.idle_until,
        "expires_at": grant.expires_at,
        "live": grant.lives(now),
    }


def _grants_table(grants: list[Grant], now: float) -> list[str]:
    rows = [
        (
            one.id.hex()[:8],
            one.client_id,
            one.scopes,
            when(one.created_at),
            when(one.rotated_at),
            when(min(one.idle_until, one.expires_at)),
            "live" if one.lives(now) else "ended",
        )
        for one in grants
    ]
    return table(("ID", "CLIENT", "SCOPES", "SINCE", "LAST USED", "UNTIL", "STATE"), rows)
