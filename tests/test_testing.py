"""The pytest plugin, used as an embedder uses it: on an app of their own, and through pytest."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket

from watchword import AccessToken, Account, Auth, ClaimsContext, Guard
from watchword.crypto.secrets import fresh
from watchword.errors import ConfigError
from watchword.rules.clients import Client
from watchword.rules.scopes import Scopes
from watchword.testing import Clock
from watchword.testing.finding import app_at
from watchword.testing.stage import Stage

pytest_plugins = "pytester"

SCOPES = {"me": "See who you are", "items:read": "See items", "items:write": "Change items"}
ISSUER = "https://login.example.invalid"  # RFC 6761 section 6.4: no network has it
API = "https://api.example.com"
PRODUCTION = {
    "issuer": "https://app.example.com",
    "secret": "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A",
    "audit_routes": "off",
}


def made(path: Path, **options: Any) -> tuple[FastAPI, Auth]:
    """An app as a developer has it, with a database file at `path`."""
    app = FastAPI()
    given = {
        "env": "development",
        "database_url": f"sqlite:///{path}/dev.db",
        "scopes": SCOPES,
        "roles": {"editor": ["items:*"]},
        **options,
    }
    auth = Auth(app, **given)
    add_routes(app, auth)
    return app, auth


def add_routes(app: FastAPI, guard: Guard) -> None:
    @app.get("/items", dependencies=[guard.require("items:read")])
    async def items() -> list[str]:
        return ["one"]

    @app.post("/items", dependencies=[guard.require("items:write")], status_code=201)
    async def add_item() -> None: ...

    @app.get("/editors", dependencies=[guard.require(role="editor")])
    async def editors() -> None: ...

    @app.get("/whoami")
    async def whoami(user: Annotated[Account, guard.current_user()]) -> dict[str, Any]:
        return {"sub": user.sub, "username": user.username, "email": user.email}

    @app.get("/token-claims")
    async def claims(token: Annotated[AccessToken, guard.token()]) -> dict[str, Any]:
        return dict(token.claims)


@pytest.fixture
def auth_app(tmp_path: Path) -> FastAPI:
    return made(tmp_path)[0]


# --- the app's own server ----------------------------------------------------------


def test_a_user_is_made_with_the_scopes_asked_for(auth_client) -> None:
    ada = auth_client("ada@example.com", scopes=["items:read"])
    assert ada.get("/items").json() == ["one"]
    who = ada.get("/whoami").json()
    assert who["sub"].startswith("u_")
    assert who["username"] == who["email"] == "ada@example.com"
    refused = ada.post("/items")
    assert refused.status_code == 403
    assert refused.json()["error"] == "insufficient_scope"


def test_one_person_may_have_several_tokens(auth_client) -> None:
    reader = auth_client("ada", scopes=["items:read"])
    writer = auth_client("Ada ", scopes=["items:write"])  # the same login, folded
    assert reader.get("/whoami").json()["sub"] == writer.get("/whoami").json()["sub"]
    assert reader.post("/items").status_code == 403
    assert writer.post("/items").status_code == 201
    assert auth_client("ada").get("/whoami").status_code == 200


def test_without_arguments_nobody_is_signed_in(auth_client) -> None:
    assert auth_client().get("/items").status_code == 401
    assert "authorization" not in auth_client().headers


def test_a_client_speaks_for_itself(auth_client) -> None:
    job = auth_client(client="nightly-job", scopes=["items:read"])
    assert job.get("/items").status_code == 200
    claims = job.get("/token-claims").json()
    assert claims["sub"] == claims["client_id"] == "nightly-job"
    assert job.get("/whoami").status_code in (401, 403)  # a route for people
    more = auth_client(client="nightly-job", scopes=["items:write"])
    assert more.post("/items").status_code == 201
    assert job.get("/items").status_code == 200  # asking for more ended nothing


def test_an_account_with_its_roles(auth_client) -> None:
    account = Account("u_7", "grace", name="Grace", roles=("editor",), scopes=Scopes(["me"]))
    client = auth_client(account)
    assert client.get("/whoami").json()["sub"] == "u_7"
    assert client.get("/token-claims").json()["scope"] == "me items:read items:write"
    assert client.get("/editors").status_code == 200
    assert auth_client(account, scopes=["me"]).get("/items").status_code == 403
    same = auth_client("heidi", sub="u_8", roles=("editor",))
    assert same.get("/whoami").json()["sub"] == "u_8"
    assert same.get("/editors").status_code == 200


def test_a_token_expires_when_the_clock_says_so(auth_client, auth_clock) -> None:
    client = auth_client("ada", scopes=["items:read"])
    auth_clock.tick("9m")
    assert client.get("/items").status_code == 200
    auth_clock.tick("2m")
    assert client.get("/items").status_code == 401
    assert auth_client("ada", scopes=["items:read"]).get("/items").status_code == 200


def test_half_a_year_later_everything_still_works(auth_client, auth_clock) -> None:
    before = auth_client("ada", scopes=["items:read"])
    auth_clock.tick("180d")
    with auth_client("ada", scopes=["items:read"]) as client:
        assert client.get("/items").status_code == 200
    assert before.get("/items").status_code == 401


def test_revocation_is_the_real_one(auth_client, auth_headers) -> None:
    client = auth_client("ada", scopes=["items:read"])
    other = auth_client("ada", scopes=["items:read"])
    assert client.get("/items").status_code == 200
    assert client.post("/revoke-token").status_code == 200
    assert client.get("/items").status_code == 401
    assert other.get("/items", headers=auth_headers("bob", scopes=["items:read"])).is_success
    assert other.get("/items").status_code == 200


async def test_a_disabled_user_is_out(auth_aclient, auth_app) -> None:
    client = await auth_aclient("ada", scopes=["items:read"])
    account = (await client.get("/whoami")).json()
    auth = auth_app.state.watchword
    assert await auth.store.set_disabled(account["sub"], auth.now(), disabled=True)
    assert (await client.get("/items")).status_code == 401
    with pytest.raises(ConfigError, match="cannot be signed in"):
        await auth_aclient("ada", scopes=["items:read"])


async def test_async_clients_and_headers(auth_aclient, auth_headers) -> None:
    async with await auth_aclient("ada", scopes=["items:read"]) as client:
        assert (await client.get("/items")).status_code == 200
        assert (await client.get("/items", headers=auth_headers("bob"))).status_code == 403
    async with await auth_aclient() as anonymous:
        assert (await anonymous.get("/items")).status_code == 401


def test_the_developers_files_are_never_touched(auth_client, tmp_path) -> None:
    with auth_client("ada", scopes=["items:read"]) as client:
        assert client.get("/items").status_code == 200
    assert [path.name for path in tmp_path.iterdir()] == [".watchword"]  # the app's own secret


@pytest.mark.parametrize("_", range(2))
async def test_every_test_begins_with_an_empty_store(auth_stage, auth_app, _) -> None:
    users = auth_app.state.watchword.users
    assert await users.by_login("ada") is None
    await auth_stage.aclient("ada")
    assert await users.by_login("ada") is not None


def test_limits_are_as_configured_and_counted_anew(tmp_path) -> None:
    app, _ = made(tmp_path, limit_login_account_ip="2 + 1/min")
    for _ in range(2):
        with Stage(app, Clock(1_800_000_000.0)) as stage:
            client = stage.client()
            wrong = {"username": "ada", "password": "wrong"}
            answers = [client.post("/token", data=wrong).status_code for _ in range(3)]
            assert answers == [401, 401, 429]


def test_afterwards_the_app_is_as_it_was(tmp_path) -> None:
    app, auth = made(tmp_path)
    parts = {name: value for name, value in vars(auth).items() if name != "_decisions"}
    with Stage(app, Clock(5.0)):
        assert auth.now() == auth._decisions.now() == 5.0
        assert auth.driver.in_memory
    assert {name: value for name, value in vars(auth).items() if name != "_decisions"} == parts
    assert auth._decisions.now is parts["now"]


async def test_a_server_in_use_is_not_disturbed(tmp_path, server) -> None:
    tokens = await server.login(scope="me")
    with Stage(server.app, Clock(server.clock())) as stage:
        assert (await server.get("/guarded", tokens["access_token"])).status_code == 401
        client = await stage.aclient("ada", scopes=["me"])
        assert (await client.get("/guarded")).status_code == 200
        stranger = client.headers["authorization"].removeprefix("Bearer ")
    assert (await server.get("/guarded", tokens["access_token"])).status_code == 200
    assert (await server.get("/guarded", stranger)).status_code == 401


# --- the app's life ----------------------------------------------------------------


def test_the_store_outlives_a_lifespan(auth_client) -> None:
    ada = auth_client("ada", scopes=["items:read"])
    bob = auth_client("bob", scopes=["items:read"])
    with ada, bob:
        assert ada.get("/items").status_code == 200
        assert auth_client("carol", scopes=["items:read"]).get("/items").status_code == 200
    for client in (ada, bob):
        assert client.get("/items").status_code == 200


def test_hooks_run_with_what_they_depend_on(tmp_path, auth_clock) -> None:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, str]]:
        yield {"team": "blue"}

    app = FastAPI(lifespan=lifespan)
    auth = Auth(app, env="development", database_url=f"sqlite:///{tmp_path}/dev.db")

    def team(request: Request) -> str:
        return getattr(request.state, "team", "none")

    @auth.claims
    async def add_team(context: ClaimsContext, of: Annotated[str, Depends(team)]) -> dict[str, str]:
        return {"team": of}

    add_routes(app, auth)
    with Stage(app, auth_clock) as stage:
        assert stage.client("ada").get("/token-claims").json()["team"] == "none"
        with stage.client() as alive:
            assert alive.get("/token-claims", headers=stage.headers("ada")).is_success


def test_a_socket_is_opened_with_the_token(tmp_path, auth_clock) -> None:
    app, auth = made(tmp_path)

    @app.websocket("/feed", dependencies=[auth.require("items:read")])
    async def feed(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("news")
        await socket.close()

    with Stage(app, auth_clock) as stage:
        client = stage.client("ada", scopes=["items:read"])
        with client.websocket_connect("/feed") as socket:
            assert socket.receive_text() == "news"


def test_production_settings_and_a_strict_server(tmp_path, auth_clock) -> None:
    app, auth = made(tmp_path, **PRODUCTION, env="production", password_login="off")
    with Stage(app, auth_clock) as stage, stage.client("ada", scopes=["items:read"]) as client:
        assert client.get("/items").status_code == 200
        assert not auth.signing.ring.signer("ES256", auth_clock()).kid.startswith("dev-")


def test_an_app_below_another(tmp_path, auth_clock) -> None:
    inner, _ = made(tmp_path)
    outer = FastAPI()
    outer.mount("/api", inner)
    with Stage(outer, auth_clock) as stage:
        assert stage.client("ada", scopes=["items:read"]).get("/api/items").status_code == 200


# --- other issuers -----------------------------------------------------------------


def guarded(guard: Guard) -> FastAPI:
    app = FastAPI()
    add_routes(app, guard)
    return app


def test_a_guard_of_another_issuer_checks_everything(auth_clock) -> None:
    app = guarded(Guard(issuer=ISSUER, audience=API))
    with Stage(app, auth_clock) as stage:
        client = stage.client("ada@example.com", scopes=["items:read"], name="Ada")
        assert client.get("/items").status_code == 200
        assert client.post("/items").status_code == 403
        assert client.get("/whoami").json()["email"] == "ada@example.com"
        assert client.get("/token-claims").json()["aud"] in (API, [API])
        forged = {"Authorization": client.headers["authorization"][:-8] + "AAAAAAAA"}
        assert stage.client().get("/items", headers=forged).status_code == 401
        auth_clock.tick("11m")
        assert client.get("/items").status_code == 401
        assert stage.client("ada", scopes=["items:read"]).get("/items").status_code == 200
        auth_clock.tick("2d")  # the key set is asked for again
        assert stage.client("ada", scopes=["items:read"]).get("/items").status_code == 200


def test_a_token_for_one_api_does_not_open_another(auth_clock) -> None:
    one = guarded(Guard(issuer=ISSUER, audience=API))
    other = guarded(Guard(issuer=ISSUER, audience="https://other.example.com"))
    with Stage(one, auth_clock) as here, Stage(other, auth_clock) as there:
        headers = here.headers("ada", scopes=["items:read"])
        assert here.client().get("/items", headers=headers).status_code == 200
        assert there.client().get("/items", headers=headers).status_code == 401


def test_a_foreign_client_and_foreign_roles(auth_clock) -> None:
    app = guarded(Guard.keycloak(ISSUER, audience=API, algorithms=["RS256"]))
    with Stage(app, auth_clock) as stage:
        job = stage.client(client="nightly-job", scopes=["items:read"])
        assert job.get("/items").status_code == 200
        assert job.get("/whoami").status_code in (401, 403)
        assert stage.client("ada", roles=("editor",)).get("/editors").status_code == 200
        assert stage.client("ada").get("/editors").status_code == 403


@pytest.mark.parametrize(
    "guard",
    [
        lambda: Guard.entra(tenant="8b1f", audience=API),
        lambda: Guard.auth0("tenant.example.invalid", audience=API),
        lambda: Guard(issuer=ISSUER, audience=API, jwks_uri=f"{ISSUER}/.well-known/jwks.json"),
    ],
)
def test_every_preset_can_be_tested(guard, auth_clock) -> None:
    with Stage(guarded(guard()), auth_clock) as stage:
        assert stage.client("ada", scopes=["items:read"]).get("/items").status_code == 200


@pytest.mark.parametrize(
    "told",
    [
        {"revocations": "required"},
        {"revocations": "off", "introspection": True, "when_stale": "introspect"},
        {"introspection": "https://login.example.invalid/introspect"},
    ],
    ids=str,
)
def test_a_guard_that_follows_its_issuer_asks_nobody_in_a_test(auth_clock, told) -> None:
    app = FastAPI()
    guard = Guard(
        app, issuer=ISSUER, audience=API, client_id="orders", client_secret="gs_x", **told
    )
    add_routes(app, guard)
    insists = {"dependencies": [guard.require(max_stale=0)]}
    app.add_api_route("/now", lambda: {"ok": True}, **insists)
    before = guard._logs()
    with Stage(app, auth_clock) as stage, stage.client("ada", scopes=["items:read"]) as client:
        assert client.get("/items").status_code == client.get("/now").status_code == 200
        opaque = {"Authorization": "Bearer op_aque"}
        assert stage.client().get("/items", headers=opaque).status_code == 401
    assert guard._logs() == before and not guard._elsewhere._silent


def test_one_of_several_issuers_is_chosen(tmp_path, auth_clock) -> None:
    app = FastAPI()
    auth = Auth(app, env="development", database_url=f"sqlite:///{tmp_path}/dev.db")
    add_routes(app, Guard.any_of(auth, Guard(issuer=ISSUER, audience=API)))
    with Stage(app, auth_clock) as stage:
        ours = stage.client("ada", scopes=["items:read"])
        assert ours.get("/items").status_code == 200
        assert ours.get("/token-claims").json()["iss"] == auth.settings.issuer
        theirs = stage.client("ada", scopes=["items:read"], issuer=ISSUER)
        assert theirs.get("/items").status_code == 200
        assert theirs.get("/token-claims").json()["iss"] == ISSUER
        with pytest.raises(ConfigError, match="trusts no issuer"):
            stage.client("ada", issuer="https://nobody.example")


# --- the app's own users -----------------------------------------------------------


class Directory:
    """An embedder's users."""

    known = Account("17", "ada", email="ada@example.com", scopes=Scopes(["me"]))

    async def by_login(self, login: str) -> Account | None:
        return self.known if login == "ada" else None

    async def by_subject(self, subject: str) -> Account | None:
        return self.known if subject == "17" else None

    async def password_is(self, account: Account | None, password: str) -> bool:
        return account is not None and password == "secret"


def test_the_apps_own_users_are_joined_by_the_tests(tmp_path, auth_clock) -> None:
    app, auth = made(tmp_path, users=Directory())
    with Stage(app, auth_clock) as stage:
        known = stage.client("ada", scopes=["items:read"])
        assert known.get("/whoami").json() == {
            "sub": "17",
            "username": "ada",
            "email": "ada@example.com",
        }
        assert known.get("/items").status_code == 200
        made_up = stage.client("zoe", scopes=["items:read"])
        assert made_up.get("/items").status_code == 200
        assert made_up.get("/whoami").json()["username"] == "zoe"
        signed_in = made_up.post("/token", data={"username": "ada", "password": "secret"})
        assert signed_in.status_code == 200
        wrong = made_up.post("/token", data={"username": "zoe", "password": "wrong"})
        assert wrong.status_code == 401
        assert stage.client(Directory.known).get("/whoami").json()["sub"] == "17"
    assert isinstance(auth.users, Directory)


@pytest.mark.parametrize("users", [None, Directory()])
def test_a_password_to_sign_in_with(tmp_path, auth_clock, users) -> None:
    app, _ = made(tmp_path, users=users)
    with Stage(app, auth_clock) as stage:
        stage.client("zoe", password="correct horse", scopes=["me"])
        form = {"username": "Zoe", "password": "correct horse"}
        answer = stage.client().post("/token", data=form)
        assert answer.status_code == 200
        assert answer.json()["scope"] == "me"
        form["password"] = "wrong horse"
        assert stage.client().post("/token", data=form).status_code == 401


async def test_a_client_that_the_app_registered_itself(auth_aclient, auth_app) -> None:
    auth = auth_app.state.watchword
    await auth.start()
    registered = Client(
        "nightly-job",
        "Nightly job",
        auth_method="client_secret",
        grants=frozenset({"client_credentials"}),
        scopes=Scopes(["me"]),
        secrets=(fresh("gs").digest,),
    )
    assert await auth.store.add_client(registered, auth.now())
    job = await auth_aclient(client="nightly-job", scopes=["items:read"])
    assert (await job.get("/items")).status_code == 200
    kept = await auth.store.client("nightly-job")
    assert kept.secrets[0] == registered.secrets[0]  # what the app knows still works


# --- mistakes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "asked", "says"),
    [
        ("ada", {"scopes": ["items:raed"]}, "items:read"),
        ("ada", {"scopes": "items:read"}, "list"),
        ("ada", {"client": "nightly-job"}, "own"),
        (None, {"scopes": ["me"]}, "Nobody"),
        (None, {"client": "u_job"}, "client"),
        (None, {"client": "watchword"}, "client"),
    ],
)
def test_mistakes_are_told(auth_client, who, asked, says) -> None:
    with pytest.raises(ConfigError, match=says):
        auth_client(who, **asked)


def test_what_cannot_be_signed_in(auth_client) -> None:
    with pytest.raises(TypeError, match="login or an Account"):
        auth_client(17)
    with pytest.raises(TypeError, match="shoe_size"):
        auth_client("ada", shoe_size=43)
    auth_client("ada", name="Ada")
    with pytest.raises(ConfigError, match="already here"):
        auth_client("ada", name="Grace")


def test_a_token_endpoint_that_refuses_says_why(tmp_path, auth_clock) -> None:
    app, _ = made(tmp_path, **PRODUCTION, env="production", limit_token="1 + 1/h")
    with Stage(app, auth_clock) as stage:
        stage.client("ada")
        with pytest.raises(ConfigError, match="no token(.|\\n)*Too many requests"):
            stage.client("ada")


def test_an_app_without_a_guard(auth_clock) -> None:
    app = FastAPI()
    app.include_router(APIRouter())
    with pytest.raises(ConfigError, match="No guard"), Stage(app, auth_clock):
        pass


@pytest.mark.parametrize("sign", ["PYTEST_VERSION", "PYTEST_CURRENT_TEST"])
async def test_nothing_of_this_works_outside_pytest(tmp_path, monkeypatch, sign) -> None:
    _, auth = made(tmp_path)
    guard = Guard(issuer=ISSUER, audience=API)
    with auth.in_memory(Clock(0.0)):
        monkeypatch.delenv("PYTEST_VERSION", raising=False)
        monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
        with pytest.raises(ConfigError, match="outside pytest"):
            await auth.start()
        with (
            pytest.raises(ConfigError, match="outside pytest"),
            guard.offline(Clock(0.0), lambda _: None),
        ):
            pass
        monkeypatch.setenv(sign, "yes")
        await auth.start()


# --- the clock ---------------------------------------------------------------------


def test_the_clock_stands_still() -> None:
    clock = Clock(100.0)
    assert clock.now() == clock() == 100.0
    assert clock.tick(30) == 130.0
    assert clock.tick("20m") == 1_330.0
    assert clock.tick("1.5h") == 6_730.0
    assert clock.now() == 6_730.0
    with pytest.raises(ValueError, match="20|unit"):
        clock.tick("soon")


# --- through pytest ----------------------------------------------------------------

MAIN = """
from fastapi import FastAPI
from watchword import Auth

app = FastAPI()
auth = Auth(app, env="development", scopes={"items": "See your items"})

@app.get("/items", dependencies=[auth.require("items")])
async def items() -> list[str]:
    return []

def make() -> FastAPI:
    return app
"""
INI = "[pytest]\nfilterwarnings = error\naddopts = -p no:hypothesispytest\n"  # slow to load
TESTS = """
def test_items(auth_client, auth_clock):
    client = auth_client("ada@example.com", scopes=["items"])
    assert client.get("/items").status_code == 200
    auth_clock.tick("20m")
    assert client.get("/items").status_code == 401

def test_with_lifespan(auth_client):
    with auth_client() as client:
        assert client.get("/items").status_code == 401
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of somebody's, whose warnings are errors."""
    # The outer run's module of that name must not be found in place of the project's own.
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "main", raising=False)
    pytester.makepyfile(main=MAIN, test_items=TESTS)
    pytester.makeini(INI + "watchword_app = main:app")
    return pytester


def test_the_app_is_found_by_the_setting(project) -> None:
    project.runpytest().assert_outcomes(passed=2)
    assert not list(project.path.glob("*.db*"))


def test_the_command_line_wins_and_a_factory_is_called(project) -> None:
    project.runpytest("--watchword-app", "main:make").assert_outcomes(passed=2)


def test_the_fixture_auth_app_wins(project) -> None:
    project.makeini(INI)
    project.makeconftest(
        "import pytest\n"
        "@pytest.fixture(scope='session')\n"
        "def auth_app():\n"
        "    from main import app\n"
        "    return app\n"
    )
    project.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_without_an_app_the_error_says_what_to_set(project) -> None:
    project.makeini(INI)
    result = project.runpytest()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*do not know which app*", '*set watchword_app = "main:app"*'])


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("", "which app"),
        ("watchword", "which app"),
        (":app", "which app"),
        ("watchword:nothing", "has no nothing"),
        ("watchword:__version__", "not an app but a str"),
        ("watchword.testing.asking:PEER", "not an app but a tuple"),
    ],
)
def test_an_app_that_is_not_there(named, says, monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(ConfigError, match=says):
        app_at(named, Path("/"))


def test_a_project_without_it_notices_nothing(pytester) -> None:
    pytester.makeini(INI + "strict = true")
    pytester.makepyfile("def test_one():\n    pass")
    pytester.runpytest().assert_outcomes(passed=1)


def test_loading_the_plugin_loads_nothing_else() -> None:
    heavy = ["fastapi", "starlette", "sqlalchemy", "pydantic", "cryptography", "httpx2", "msgspec"]
    code = (
        "import sys, pytest; before = set(sys.modules); import watchword.testing; "
        f"print(*set({heavy}) & set(sys.modules)); "
        "print(len(set(sys.modules) - before))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, number = told.stdout.split("\n")[:2]
    assert loaded == ""
    assert int(number) <= 5


def test_the_guide_is_true(project, monkeypatch) -> None:
    """Every block of the guide under a file's name is that file."""
    monkeypatch.setenv("WATCHWORD_ENV", "development")
    guide = (Path(__file__).parents[1] / "docs/how-to/test-your-app.md").read_text()
    files = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", guide, re.DOTALL))
    assert set(files) == {
        "main.py",
        "conftest.py",
        "test_items.py",
        "test_time.py",
        "test_guard.py",
        "test_instead.py",
    }
    for name, code in files.items():
        (project.path / name).write_text(code)
    project.runpytest().assert_outcomes(passed=guide.count("def test_"))


def test_functions_that_are_told_have_run_when_the_answer_is_there(tmp_path) -> None:
    app, auth = made(tmp_path, issuer="http://localhost:8000")
    heard, clock, is_away = [], Clock(1_800_000_000.0), [True]

    @auth.after("login.succeeded", "login.failed", "token.revoked")
    async def tell(event: Any) -> None:
        heard.append((event.kind, event.id))
        if event.kind == "token.revoked" and is_away:
            is_away.clear()
            raise ConnectionError

    for _ in range(2):  # nothing of one test is there in the next
        with Stage(app, clock) as stage:
            client = stage.client("ada", scopes=["items:read"], password="secret")
            assert heard == []  # nobody has signed in
            client.post("/token", data={"username": "ada", "password": "wrong"})
            client.post("/token", data={"username": "ada", "password": "secret"})
            assert [kind for kind, _ in heard] == ["login.failed", "login.succeeded"]
            with client:
                client.post("/revoke-token")
            assert len(heard) == 3
        with Stage(app, clock) as stage:
            stage.client().get("/.well-known/jwks.json")
        assert len(heard) == 3
        heard.clear()
        is_away.append(True)


def test_a_function_that_failed_is_told_again_when_the_clock_has_moved(tmp_path) -> None:
    app, auth = made(tmp_path, issuer="http://localhost:8000")
    heard, clock = [], Clock(1_800_000_000.0)

    @auth.after("token.revoked")
    def tell(event: Any) -> None:
        heard.append(event.id)
        if len(heard) == 1:
            raise ConnectionError

    with Stage(app, clock) as stage:
        client = stage.client("ada", scopes=["items:read"])
        client.post("/revoke-token")
        client.get("/.well-known/jwks.json")
        assert len(heard) == 1
        clock.tick(1)
        client.get("/.well-known/jwks.json")
    assert len(heard) == 2
    assert len(set(heard)) == 1
    assert not (tmp_path / "dev.db").exists()
