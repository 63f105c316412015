"""A whole server in memory, a clock that moves when told, and a client that speaks to it.

Annotations here are objects, not text: FastAPI could not read text that names `auth`.
"""

import gc
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import behind
import httpx2
import pytest
from fastapi import FastAPI
from pg import PostgresServer
from runs import DATABASE, ON_POSTGRES, ON_VALKEY, REDIS, Beside, is_left_out, must_be_on_it
from vk import Valkey

from watchword import AccessToken, Account, Auth
from watchword.crypto import keys
from watchword.crypto.secrets import fresh
from watchword.events import Event
from watchword.guard.freshness import Asked
from watchword.rules.clients import Client
from watchword.rules.scopes import Scopes
from watchword.seams import NewGrant, Opened, StoredUser
from watchword.store import schema, tables
from watchword.store.databases import driver_of

ISSUER = "http://localhost:8000"
_databases = itertools.count(1)
SECRET = "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A"


def pytest_report_header() -> str:
    return f"servers are built on: {DATABASE}, {REDIS} beside it"


def pytest_collection_finish() -> None:
    """What is there to stay need not be looked through again, at each start of a server too."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Other runs than the first are about what a server is built on, and about nothing else."""
    among_others = hasattr(config, "workerinput")
    left_out = [item for item in items if is_left_out(item, among_others)]
    items[:] = [item for item in items if not is_left_out(item, among_others)]
    config.hook.pytest_deselected(items=left_out)


_rsa_keys: list[Any] = []
_turns = itertools.count()
RSA_KEYS = 64  # so that no two that meet in one test are the same


@pytest.fixture(scope="session", autouse=True)
def few_rsa_keys() -> Iterator[None]:
    """Finding an RSA key takes longer than most tests, so those found are used in turn."""

    def in_turn(alg: str, found: Any = keys.new_private_key) -> Any:
        if not alg.startswith(("RS", "PS")):
            return found(alg)
        if len(_rsa_keys) < RSA_KEYS:
            _rsa_keys.append(found(alg))
            return _rsa_keys[-1]
        return _rsa_keys[next(_turns) % RSA_KEYS]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "new_private_key", in_turn)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole run, started when the first test asks."""
    server = PostgresServer(fsync="off")  # nobody pulls its plug; those who do start their own
    yield server
    behind.hang_up()
    server.close()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """An empty database."""
    return postgres.database(f"t{next(_databases)}_{os.getpid()}")


@pytest.fixture(scope="session")
def template(postgres: PostgresServer) -> str:
    """A database with the newest schema, to be copied."""
    name = f"template_{os.getpid()}"
    url = postgres.database(name)
    driver = driver_of(url)
    schema.prepare(driver, upgrade=False)
    driver.close()
    behind.learn(url)
    return name


_used: list[str] = []  # databases that may be emptied and used again: quicker than a new one


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Makes an empty database of the kind that this run is for, and tells where it is."""
    if not ON_POSTGRES:
        yield lambda: "sqlite:///:memory:"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    template: str = request.getfixturevalue("template")
    mine: list[str] = []

    def made() -> str:
        name = f"t{next(_databases)}_{os.getpid()}"
        url = _used.pop() if _used else server.database(name, template=template)
        mine.append(url)
        return url

    yield made
    for url in mine:
        behind.empty(url)
    _used.extend(mine)


@pytest.fixture
def kept_url(database_url: Callable[[], str], tmp_path: Path) -> str:
    """An empty database that several servers can open, one after the other or at once."""
    return database_url() if ON_POSTGRES else f"sqlite:///{tmp_path}/w.db"


@pytest.fixture(scope="session")
def one_valkey() -> Iterator[Valkey]:
    """One Valkey for the whole run; those who stop it start their own."""
    server = Valkey()
    yield server
    server.close()


@pytest.fixture
def valkey(one_valkey: Valkey) -> Valkey:
    """An empty Valkey that knows no script."""
    one_valkey.do("FLUSHALL")
    one_valkey.do("SCRIPT", "FLUSH")
    return one_valkey


@pytest.fixture
def redis_beside(request: pytest.FixtureRequest) -> Iterator[Beside | None]:
    """The Valkey of every server that is built, in a run that has one."""
    beside = Beside(request.getfixturevalue("valkey")) if ON_VALKEY else None
    yield beside
    if beside is not None:
        beside.close()


class Clock:
    """Unix seconds that stand still until moved."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self.time = start
        self.beside: Beside | None = None

    def __call__(self) -> float:
        return self.time

    def tick(self, seconds: float) -> None:
        self.time += seconds
        if self.beside is not None:
            self.beside.move(seconds)


@dataclass
class Server:
    """An app with everything, and what a test wants to do with it."""

    app: FastAPI
    auth: Auth
    clock: Clock
    http: httpx2.AsyncClient
    events: list[Event] = field(default_factory=list)

    async def add_user(
        self, username: str, password: str = "secret", scopes: str = "me items", **more: Any
    ) -> Account:
        account = Account(
            sub=more.pop("sub", f"u_{username}"),
            username=username,
            scopes=Scopes(scopes.split()),
            created_at=self.clock(),
            **more,
        )
        hashed = await self.auth.passwords.hash(password)
        assert await self.auth.store.add_user(StoredUser(account, hashed))
        return account

    async def add_client(self, name: str, **more: Any) -> tuple[str, str]:
        """Returns the client's id and secret; by default a service with client credentials."""
        secret = fresh("gs")
        client = Client(
            id=name,
            name=name,
            auth_method=more.pop("auth_method", "client_secret"),
            grants=frozenset(more.pop("grants", {"client_credentials"})),
            scopes=Scopes(more.pop("scopes", "items").split()),
            secrets=(secret.digest,) if more.pop("secret", True) else (),
            **more,
        )
        assert await self.auth.store.add_client(client, self.clock())
        return client.id, secret.clear

    async def post(
        self, path: str, data: dict[str, Any] | None = None, **more: Any
    ) -> httpx2.Response:
        return await self.http.post(path, data=data, **more)

    async def login(
        self, name: str = "johndoe", password: str = "secret", scope: str = ""
    ) -> dict[str, Any]:
        answer = await self.post("/token", {"username": name, "password": password, "scope": scope})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refresh(self, token: str, **more: Any) -> httpx2.Response:
        return await self.post(
            "/token", {"grant_type": "refresh_token", "refresh_token": token, **more}
        )

    async def hear(self) -> None:
        """Know what other servers have committed: at once on one machine, and on PostgreSQL a
        moment later, which a test that is about something else need not race."""
        await self.auth.revocations.meet(Asked(within=0))

    async def get(self, path: str, token: str | None = None, **more: Any) -> httpx2.Response:
        headers = dict(more.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return await self.http.get(path, headers=headers, **more)

    async def grant_for(self, client_id: str, sub: str = "u_johndoe", scopes: str = "me") -> str:
        """Opens a grant of any client, as an exchange would; returns its refresh token."""
        at, now = self.auth._bench, self.clock()
        token, proof = at.refresh_tokens.first(grant_id := at.fresh(16), at.fresh(16), client_id)
        new = NewGrant(
            id=grant_id,
            user_id=sub,
            client_id=client_id,
            scopes=Scopes(scopes.split()),
            audience=at.settings.audience,
            proof=proof,
            auth_time=now,
            idle_until=now + at.settings.refresh_ttl,
            expires_at=now + at.settings.refresh_max,
            looked_at=await at.store.head(),
        )
        assert isinstance(await at.store.open_grant(new, now), Opened)
        return token.clear

    def come_from(self, ip: str) -> None:
        """The requests that follow come from another address."""
        self.http._transport.client = (ip, 50_000)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Nothing that happens inside may change a table, but for the audit trail."""
        before = self.snapshot()
        yield
        assert self.snapshot() == before

    def told(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """Behind the server's back."""
        if self.auth.driver.is_local:
            return self.auth.driver.connection.execute(sql, values).fetchall()
        return behind.rows(self.auth.driver.conninfo, sql, values)

    def tables(self) -> set[str]:
        """Every table there is, ours or not."""
        if self.auth.driver.is_local:
            return {row[0] for row in self.rows("SELECT name FROM sqlite_master")}
        return {row[0] for row in self.rows("SELECT tablename FROM pg_tables")}

    def snapshot(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every table but the audit trail: what a refusal must leave as it was."""
        return {
            table.name: sorted(map(tuple, self.rows(f"SELECT * FROM {table.name}")), key=repr)
            for table in tables.metadata.sorted_tables
            if table.name != tables.audit.name
        }


Build = Callable[..., Server]
SCOPES = {"me": "See who you are", "items": "See your items"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def build(
    database_url: Callable[[], str], redis_beside: Beside | None
) -> AsyncIterator["Build"]:
    """Builds servers; every keyword is a keyword of `Auth`, but `loaders`: called with app and
    auth before the first route, where an app's user loader stands."""
    made: list[Server] = []

    def make(prepare: Callable[[FastAPI, Auth], None] | None = None, **options: Any) -> Server:
        clock = options.pop("now", None) or Clock()
        loaders = options.pop("loaders", None)
        app = FastAPI()
        given = {
            "env": "development",
            "issuer": ISSUER,
            "secret": SECRET,
            "database_url": options.pop("database_url", None) or database_url(),
            "scopes": SCOPES,
            "hash_memory_kib": 64,
            "hash_passes": 1,
            "hash_wait": 30,
            "audit_routes": "off",
            **options,
        }
        if redis_beside is not None:
            given = {"redis_url": redis_beside.url, "redis_timeout": 5.0} | given
            if isinstance(clock, Clock):
                clock.beside = redis_beside
        auth = Auth(app, now=clock, **given)
        must_be_on_it(auth)
        if loaders is not None:
            loaders(app, auth)

        @app.get("/open", dependencies=[auth.public])
        async def open_route() -> dict[str, bool]:
            return {"ok": True}

        @app.get("/guarded", dependencies=[auth.require("me")])
        async def guarded() -> dict[str, bool]:
            return {"ok": True}

        @app.get("/users/me/items")
        async def items(user: Annotated[Account, auth.current_user("items")]) -> dict[str, str]:
            return {"owner": user.username}

        @app.get("/token-claims")
        async def claims(token: Annotated[AccessToken, auth.token()]) -> dict[str, Any]:
            return dict(token.claims)

        if prepare is not None:
            prepare(app, auth)
        transport = httpx2.ASGITransport(app=app, client=("127.0.0.1", 50_000))
        server = Server(app, auth, clock, httpx2.AsyncClient(transport=transport, base_url=ISSUER))
        auth.events.listen(server.events.append)
        made.append(server)
        return server

    yield make
    for server in made:
        await server.http.aclose()
        await server.auth.stop()


@pytest.fixture
async def server(build: Build) -> Server:
    """A server with the tutorial's two users."""
    made = build()
    await made.auth.start()
    await made.add_user("johndoe", email="johndoe@example.com", name="John Doe")
    await made.add_user("alice", "secret2", disabled=True)
    return made


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every password-grade hash that is really computed, by the name of its function."""
    import bcrypt

    from watchword.crypto import hashes, passwords

    done: list[str] = []
    for module, name in (
        (passwords, "hash_secret"),
        (hashes, "hash_secret_raw"),
        (bcrypt, "hashpw"),
    ):
        real = getattr(module, name)

        def counted(*args: Any, real: Any = real, name: str = name, **more: Any) -> Any:
            done.append(name)
            return real(*args, **more)

        monkeypatch.setattr(module, name, counted)
    return done


def refused(answer: httpx2.Response, status: int, code: str) -> None:
    """A refusal of a protocol endpoint (RFC 6749 section 5.2), as clean as it has to be."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["error"] == code
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "application/json"
    assert answer.text.isascii()
    assert set(body) <= {"error", "error_description", "detail"}
    assert not {"access_token", "refresh_token"} & set(body)
    assert "Traceback" not in answer.text


@pytest.fixture(name="refused")
def _refused() -> Callable[[httpx2.Response, int, str], None]:
    return refused
