"""`watchword client`: which programs may ask for tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from watchword.cli.command import Group, opened
from watchword.cli.output import Failure, NotFound, Output, Refused, confirm, facts, table, when
from watchword.cli.user import words
from watchword.crypto.secrets import Secret, fresh
from watchword.rules.clients import AUTH_METHODS, FIRST_PARTY, Client, usable_id
from watchword.rules.scopes import Scopes

if TYPE_CHECKING:
    from watchword.cli.desk import Desk

_ID_BITS = 128
# Not `password`: that is for the built-in client alone (RFC 9700 section 2.4).
_GRANTS = ("client_credentials", "refresh_token")
_yes = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group(cls=Group)
def client() -> None:
    """Register clients and rotate their secrets."""


@client.command()
@click.argument("name", required=False)
@click.option("--id", "client_id", help="A chosen client_id; by default c_ and 22 characters.")
@click.option("--service", "kind", flag_value="service", help="Has a secret (the default).")
@click.option("--public", "kind", flag_value="public", help="Has none: an app on people's devices.")
@click.option("--scope", "scopes", multiple=True, help="The most it may have; repeatable.")
@click.option("--resource", "resources", multiple=True, help="An audience of its tokens.")
@click.option(
    "--introspect",
    multiple=True,
    metavar="RESOURCE",
    help="May look into its tokens, and follow revocations.",
)
@click.option("--auth-method", type=click.Choice(AUTH_METHODS))
@click.option("--grant", "grants", multiple=True, type=click.Choice(_GRANTS))
@click.pass_obj
async def create(
    out: Output,
    *,
    name: str | None,
    client_id: str | None,
    kind: str | None,
    scopes: tuple[str, ...],
    resources: tuple[str, ...],
    introspect: tuple[str, ...],
    auth_method: str | None,
    grants: tuple[str, ...],
) -> None:
    """Register a client; its secret is shown once."""
    if name is None and client_id is None:
        raise click.UsageError("Give the client a NAME or an --id.")
    new = Client(
        id=_chosen_id(client_id) if client_id is not None else fresh("c", _ID_BITS).clear,
        name=name or client_id or "",
        auth_method=_auth_method(kind, auth_method),
        grants=frozenset(grants),
        scopes=Scopes.of(words(scopes, "scope")),
        resources=_resources(resources),
        introspects=_resources(introspect),
    )
    new = replace(new, grants=_grants(new, frozenset(grants)))
    secret = None if new.is_public else fresh("gs")
    if secret is not None:
        new = replace(new, secrets=(secret.digest,))
    async with opened() as at:
        new = replace(new, created_at=at.now)
        if not await at.store.add_client(new, at.now):
            raise Refused(
                f"There is a client {new.id!r} already.", fix=f"watchword client show {new.id}"
            )
    _tell_secret(out, new, secret)


@client.command("list")
@click.pass_obj
async def list_(out: Output) -> None:
    """List clients, oldest first."""
    async with opened() as at:
        found = await at.store.clients()
    rows = [(one.id, one.name, one.auth_method, sorted(one.grants), one.scopes) for one in found]
    out.result(
        [described(one) for one in found],
        table(("CLIENT_ID", "NAME", "AUTH", "GRANTS", "SCOPES"), rows),
    )


@client.command()
@click.argument("client_id")
@click.pass_obj
async def show(out: Output, *, client_id: str) -> None:
    """Show one client; secrets are kept as digests and cannot be shown."""
    async with opened() as at:
        found = await _found(at, client_id)
    value = described(found)
    out.result(value, facts({**value, "created_at": when(found.created_at)}))


@client.command("rotate-secret")
@click.argument("client_id")
@click.option("--now", "at_once", is_flag=True, help="The old secret stops working at once.")
@_yes
@click.pass_obj
async def rotate_secret(out: Output, *, client_id: str, at_once: bool, yes: bool) -> None:
    """Make a new secret; the old one keeps working until the next rotation."""
    async with opened() as at:
        found = await _found(at, client_id)
        if found.is_public:
            raise Refused(f"{client_id} is a public client: it has no secret.")
        kept = () if at_once else found.secrets[:1]
        ending = len(found.secrets) - len(kept)
        if ending:
            which = "Every secret in use" if not kept else "The secret before the present one"
            confirm(f"{which} of {client_id} will stop working at once.", yes=yes)
        secret = fresh("gs")
        new = (secret.digest, *kept)
        if not await at.store.set_client_secrets(client_id, new, at.now, instead_of=found.secrets):
            raise Failure(
                "The client was changed at the same moment; nothing was changed here.",
                fix="run the command again",
            )
    _tell_secret(out, replace(found, secrets=new), secret)


@client.command()
@click.argument("client_id")
@_yes
@click.pass_obj
async def disable(out: Output, *, client_id: str, yes: bool) -> None:
    """Stop a client from asking for tokens; those it holds die at once."""
    await _set_disabled(out, client_id, disabled=True, yes=yes)


@client.command()
@click.argument("client_id")
@click.pass_obj
async def enable(out: Output, *, client_id: str) -> None:
    """Let a client ask for tokens again; those that died stay dead."""
    await _set_disabled(out, client_id, disabled=False, yes=True)


@client.command()
@click.argument("client_id")
@_yes
@click.pass_obj
async def delete(out: Output, *, client_id: str, yes: bool) -> None:
    """Delete a client; its tokens die with it, at once."""
    async with opened() as at:
        await _registered(at, client_id)
        confirm(f"{client_id} and all its tokens will stop working at once.", yes=yes)
        await at.store.remove_client(client_id, at.now)
    out.result({"client_id": client_id, "deleted": True}, [f"deleted {client_id}"])


async def _set_disabled(out: Output, client_id: str, *, disabled: bool, yes: bool) -> None:
    async with opened() as at:
        found = await _registered(at, client_id)
        if disabled and not found.disabled:
            confirm(f"{client_id} and all its tokens will stop working at once.", yes=yes)
        changed = await at.store.set_client_disabled(client_id, at.now, disabled=disabled)
    state = "disabled" if disabled else "enabled"
    out.result(
        {"client_id": client_id, "disabled": disabled, "changed": changed},
        [f"{client_id} {'is' if changed else 'was'} {state}" + " already" * (not changed)],
    )


async def _registered(at: Desk, client_id: str) -> Client:
    """A client that somebody registered; the built-in one is always there."""
    found = await _found(at, client_id)
    if found.is_first_party:
        raise Refused(
            "The built-in client cannot be deleted or disabled.",
            why="the tutorial's calls come from it, and the server would make it again",
            fix="to stop password logins: WATCHWORD_PASSWORD_LOGIN=off",
        )
    return found


async def _found(at: Desk, client_id: str) -> Client:
    found = await at.store.client(client_id)
    if found is None:
        raise NotFound(f"There is no client {client_id!r}.", fix="watchword client list")
    return found


def _chosen_id(client_id: str) -> str:
    if not usable_id(client_id) or client_id == FIRST_PARTY:
        raise click.BadParameter(
            "1 to 128 letters, digits, - and _; not beginning with u_, which is for users",
            param_hint="--id",
        )
    return client_id


def _auth_method(kind: str | None, chosen: str | None) -> str:
    if kind == "public":
        if chosen not in (None, "none"):
            raise click.UsageError("A --public client has no secret to authenticate with.")
        return "none"
    if kind == "service" and chosen == "none":
        raise click.UsageError("A --service client authenticates; leave --auth-method none out.")
    return chosen or "client_secret"


def _grants(new: Client, chosen: frozenset[str]) -> frozenset[str]:
    if new.is_public and "client_credentials" in chosen:
        # RFC 6749 section 4.4: only a client that can prove who it is
        raise click.UsageError("client_credentials needs a client with a secret.")
    if chosen:
        return chosen
    if new.is_public:
        return frozenset({"refresh_token"})
    # One that only looks into tokens of others asks for none itself.
    looks_only = bool(new.introspects) and not new.scopes
    return frozenset() if looks_only else frozenset({"client_credentials"})


def _resources(given: tuple[str, ...]) -> tuple[str, ...]:
    for resource in given:
        # RFC 8707 section 2: an absolute URI without a fragment; kept apart by spaces
        if ":" not in resource or "#" in resource or not resource.isprintable() or " " in resource:
            raise click.BadParameter(
                f"{resource!r} is not an absolute URI without fragment", param_hint="resource"
            )
    return tuple(dict.fromkeys(given))


def described(client: Client) -> dict[str, Any]:
    """A client as JSON, without secrets."""
    return {
        "client_id": client.id,
        "name": client.name,
        "auth_method": client.auth_method,
        "grants": sorted(client.grants),
        "scopes": list(client.scopes),
        "resources": list(client.resources),
        "introspects": list(client.introspects),
        "disabled": client.disabled,
        "secrets": len(client.secrets),
        "created_at": client.created_at,
    }


def _tell_secret(out: Output, client: Client, secret: Secret | None) -> None:
    value = described(client)
    lines = {"client_id": client.id}
    if secret is not None:
        value["client_secret"] = secret.clear
        lines["client_secret"] = secret.clear
    out.result(value, facts(lines))
    if secret is not None:
        out.note("The secret is shown this once; only its digest is kept.")
