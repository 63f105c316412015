"""Who may ask for what: the registration decides, never the request."""

from __future__ import annotations

import pytest

from watchword.errors import InvalidGrant, InvalidScope, InvalidTarget, UnauthorizedClient
from watchword.rules.clients import FIRST_PARTY, Client, usable_id
from watchword.rules.scopes import Scopes

EVERY = frozenset({"password", "refresh_token", "client_credentials"})


def client(**more) -> Client:
    given = {
        "id": "job",
        "name": "Job",
        "auth_method": "client_secret",
        "grants": EVERY,
        "scopes": Scopes(["items:read", "items:write"]),
        **more,
    }
    return Client(**given)


@pytest.mark.attack("T-28", "L-24")
@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        (client(), {"refresh_token", "client_credentials"}),
        (client(id=FIRST_PARTY, auth_method="none"), {"refresh_token", "password"}),
        (client(auth_method="none"), {"refresh_token"}),
        (client(grants=frozenset({"client_credentials"})), {"client_credentials"}),
        (client(grants=frozenset()), set()),
        (client(id="Watchword"), {"refresh_token", "client_credentials"}),
    ],
)
def test_grant_types(who, allowed):
    for grant_type in [*EVERY, "authorization_code", ""]:
        if grant_type in allowed:
            who.must_be_allowed(grant_type)
        else:
            with pytest.raises(UnauthorizedClient):
                who.must_be_allowed(grant_type)


@pytest.mark.attack("T-32")
def test_scopes_end_at_the_ceiling():
    who = client()
    assert who.scopes_for(Scopes()) == ("items:read", "items:write")
    assert who.scopes_for(Scopes(["items:write"])) == ("items:write",)
    for beyond in ("admin", "items", "items:*", "ITEMS:READ", "items:read2"):
        with pytest.raises(InvalidScope):
            who.scopes_for(Scopes(["items:read", beyond]))
    assert client(scopes=Scopes()).scopes_for(Scopes()) == ()


@pytest.mark.attack("T-32")
def test_resources_are_exact():
    default = "https://id.example.com"
    assert client().audience_for(None, default) == default
    assert client().audience_for(default, default) == default
    two = client(resources=("https://a.example.com", "https://b.example.com"))
    assert two.audience_for(None, default) == "https://a.example.com"
    assert two.audience_for("https://b.example.com", default) == "https://b.example.com"
    for other in (
        default,
        "https://a.example.com/",
        "https://A.example.com",
        "",
        "https://a.example",
    ):
        with pytest.raises(InvalidTarget):
            two.audience_for(other, default)


@pytest.mark.attack("T-32")
@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("job", True),
        ("Job_1-x", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("", False),
        ("u_johndoe", False),  # a user's subject
        ("a b", False),
        ("a:b", False),
        ("a%3a", False),
        ("\u00e9", False),
        ("a\n", False),
    ],
)
def test_a_clients_id_is_plain_and_nobodys_subject(name, good):
    assert usable_id(name) is good


@pytest.mark.attack("T-32")
def test_a_user_called_like_the_client_cannot_pass_for_it():
    client().must_differ_from("u_job")
    with pytest.raises(InvalidGrant):
        client().must_differ_from("job")
