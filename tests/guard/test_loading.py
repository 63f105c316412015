"""The app's own user: its table, its session, its transaction."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import ForeignKey, StaticPool, create_engine, event, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    object_session,
    relationship,
)

from watchword import AccessToken, Account, Auth
from watchword.errors import ConfigError
from watchword.guard.loading import Loader
from watchword.seams import Unavailable


class Base(DeclarativeBase):
    """The app's tables."""


class Team(Base):
    __tablename__ = "teams"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    auth_sub: Mapped[str | None] = mapped_column(unique=True, index=True)
    email: Mapped[str | None]
    team_id: Mapped[int | None] = mapped_column(ForeignKey("teams.id"))
    team: Mapped[Team | None] = relationship()


class Shop:
    """What the app keeps, and a count of what it does."""

    def __init__(self) -> None:
        self.engine = create_engine(
            "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
        Base.metadata.create_all(self.engine)
        self.sessions = self.loads = self.commits = 0
        event.listen(self.engine, "commit", self._count)

    def _count(self, _: Any) -> None:
        self.commits += 1

    def session(self) -> Iterator[Session]:
        self.sessions += 1
        with Session(self.engine) as session, session.begin():
            yield session

    def people(self) -> list[str | None]:
        with Session(self.engine) as session:
            return list(session.scalars(select(User.auth_sub)))


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.engine.dispose()


def linked(shop: Shop, *, sync: bool, jit: bool):
    """The interface's example, with a loader of either colour."""

    def prepare(app: FastAPI, auth: Auth) -> None:
        SessionDep = Annotated[Session, Depends(shop.session)]

        def find(token: AccessToken, session: Session) -> User | None:
            shop.loads += 1
            return session.scalar(select(User).where(User.auth_sub == token.sub))

        if sync:

            @auth.user_loader
            def load_user(token: AccessToken, session: SessionDep) -> User | None:
                return find(token, session)
        else:

            @auth.user_loader
            async def load_user(token: AccessToken, session: SessionDep) -> User | None:
                return find(token, session)

        if jit:

            @auth.on_first_login
            async def create_user(account: Account, session: SessionDep) -> None:
                session.add(User(auth_sub=account.sub, email=account.email, team=Team(name="new")))

        CurrentUser = Annotated[User, auth.current_user("me")]

        @app.get("/mine")
        async def mine(user: CurrentUser, session: SessionDep) -> dict[str, Any]:
            assert object_session(user) is session
            return {"email": user.email, "team": user.team.name if user.team else None}

        @app.get("/mine-too")
        def mine_too(user: CurrentUser) -> dict[str, Any]:
            return {"team": user.team.name if user.team else None}

    return prepare


async def signed_in(build, prepare) -> tuple[Any, str]:
    server = build(loaders=prepare)
    await server.auth.start()
    await server.add_user("johndoe", email="j@example.com")
    return server, (await server.login())["access_token"]


@pytest.mark.parametrize("sync", [True, False])
async def test_one_session_one_load_and_the_user_is_attached(build, shop, sync) -> None:
    server, token = await signed_in(build, linked(shop, sync=sync, jit=False))
    with Session(shop.engine) as session, session.begin():
        session.add(User(auth_sub="u_johndoe", email="own@example.com", team=Team(name="red")))
    assert (await server.get("/mine", token)).json() == {"email": "own@example.com", "team": "red"}
    assert (shop.sessions, shop.loads) == (1, 1)
    assert (await server.get("/mine-too", token)).json() == {"team": "red"}


@pytest.mark.parametrize("sync", [True, False])
async def test_the_first_login_makes_the_user_in_the_same_transaction(build, shop, sync) -> None:
    server, token = await signed_in(build, linked(shop, sync=sync, jit=True))
    commits = shop.commits
    assert (await server.get("/mine", token)).json() == {"email": "j@example.com", "team": "new"}
    assert (shop.sessions, shop.commits) == (1, commits + 1)
    assert shop.people() == ["u_johndoe"]
    await server.get("/mine", token)
    assert shop.people() == ["u_johndoe"]


async def test_nobody_is_401_with_a_hint_and_never_404_or_500(build, shop) -> None:
    server, token = await signed_in(build, linked(shop, sync=True, jit=False))
    answer = await server.get("/mine", token)
    assert answer.status_code == 401 and answer.json()["error"] == "invalid_token"
    assert "u_johndoe" in answer.json()["hint"]
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


async def test_a_bad_token_opens_no_session(build, shop) -> None:
    server, _ = await signed_in(build, linked(shop, sync=True, jit=True))
    for token in (None, "x.y.z"):
        assert (await server.get("/mine", token)).status_code == 401
    assert (shop.sessions, shop.loads, shop.people()) == (0, 0, [])


async def test_without_a_loader_the_user_is_the_account(server) -> None:
    tokens = await server.login()
    assert (await server.get("/users/me/items", tokens["access_token"])).json() == {
        "owner": "johndoe"
    }


async def test_an_account_that_is_gone_or_disabled_is_nobody(server, monkeypatch) -> None:
    token = (await server.login())["access_token"]

    async def gone(subject: str) -> None:
        return None

    monkeypatch.setattr(server.auth.users, "by_subject", gone)
    assert (await server.get("/users/me/items", token)).status_code == 401

    async def away(subject: str) -> None:
        raise Unavailable("locked")

    monkeypatch.setattr(server.auth.users, "by_subject", away)
    answer = await server.get("/users/me/items", token)
    assert answer.status_code == 503 and "Retry-After" in answer.headers


@pytest.mark.parametrize("decorator", ["user_loader", "on_first_login"])
async def test_a_loader_below_the_first_use_is_an_error_that_says_so(build, decorator) -> None:
    auth = build().auth  # its routes use current_user already

    async def late(token: AccessToken) -> None:
        return None

    with pytest.raises(ConfigError, match="move it above") as raised:
        getattr(auth, decorator)(late)
    assert "late" in raised.value.what


def test_loaders_that_cannot_work_are_refused() -> None:
    def yields(token: AccessToken):
        yield None

    async def yields_too(token: AccessToken):
        yield None

    def unreadable(token: "NoSuchName") -> None:  # noqa: F821
        return None

    for function in (yields, yields_too, unreadable):
        with pytest.raises(ConfigError):
            Loader(function)


async def test_a_name_means_one_thing_to_both_loaders(build) -> None:
    def first() -> int:
        return 1

    def second() -> int:
        return 2

    def prepare(app: FastAPI, auth: Auth) -> None:
        clean = Auth(FastAPI(), **_again(auth))

        @clean.user_loader
        def load(token: AccessToken, db: Annotated[int, Depends(first)]) -> None:
            return None

        @clean.on_first_login
        def create(account: Account, db: Annotated[int, Depends(second)]) -> None:
            return None

        with pytest.raises(ConfigError, match='"db"'):
            clean.current_user()

    build(prepare)


def _again(auth: Auth) -> dict[str, Any]:
    settings = auth.settings
    return {
        "env": "development",
        "issuer": settings.issuer,
        "secret": settings.secret,
        "database_url": "sqlite:///:memory:",
    }
