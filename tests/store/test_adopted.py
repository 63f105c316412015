"""The app's own users table, read through the app's own sessions."""

from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from watchword import Account, SQLAlchemyUsers
from watchword.errors import ConfigError


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "people"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(index=True)
    full_name: Mapped[str] = mapped_column(default="")
    active: Mapped[bool] = mapped_column(default=True)


class Pair(Base):
    __tablename__ = "pairs"
    a: Mapped[int] = mapped_column(primary_key=True)
    b: Mapped[int] = mapped_column(primary_key=True)


PEOPLE = [
    {"email": "Ada@example.com", "full_name": "Ada"},
    {"email": "gone@example.com", "active": False},
    {"email": "twin@example.com"},
    {"email": "TWIN@example.com"},
]


@pytest.fixture(params=["sync", "async"])
async def users(request, tmp_path) -> AsyncIterator[SQLAlchemyUsers]:
    path = tmp_path / "app.db"
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Person(**person) for person in PEOPLE])
        session.commit()

    def sync() -> Iterator[Session]:
        with Session(engine) as session:
            yield session

    other = create_async_engine(f"sqlite+aiosqlite:///{path}")
    maker = async_sessionmaker(other)

    async def asynchronous() -> AsyncIterator[AsyncSession]:
        async with maker() as session:
            yield session

    yield SQLAlchemyUsers(
        Person,
        sync if request.param == "sync" else asynchronous,
        email=Person.email,
        name=Person.full_name,
        disabled=lambda person: not person.active,
        scopes=lambda person: ["me", "items"],
    )
    engine.dispose()
    await other.dispose()


@pytest.fixture
async def adopted(build, users):
    server = build(users=users)
    await server.auth.start()
    ada = await users.by_login("ada@example.com")
    await users.set_password(ada, "correct horse")
    return server


async def test_people_sign_in_and_their_table_stays_as_it_was(adopted, users):
    tokens = await adopted.login("ada@EXAMPLE.com", "correct horse", "me")
    me = (await adopted.get("/users/me", tokens["access_token"])).json()
    assert (me["username"], me["full_name"], me["sub"]) == ("Ada@example.com", "Ada", "u_1")
    assert (await adopted.refresh(tokens["refresh_token"])).status_code == 200
    assert {column.name for column in Person.__table__.columns} == {
        "id",
        "email",
        "full_name",
        "active",
    }


@pytest.mark.attack("L-01", "L-26")
@pytest.mark.parametrize(
    "login", ["nobody@example.com", "gone@example.com", "twin@example.com", "ada@example.com"]
)
async def test_everybody_else_hears_the_same(adopted, users, login):
    gone = await users.by_login("gone@example.com")
    await users.set_password(gone, "correct horse")
    password = "wrong" if login.startswith("ada") else "correct horse"
    answer = await adopted.post("/token", {"username": login, "password": password})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_grant")


async def test_a_new_password_ends_what_was_signed_in(adopted, users):
    tokens = await adopted.login("ada@example.com", "correct horse")
    await users.set_password(await users.by_login("ada@example.com"), "battery staple")
    assert (await adopted.get("/users/me", tokens["access_token"])).status_code == 401
    assert (await adopted.refresh(tokens["refresh_token"])).status_code == 400
    assert await adopted.login("ada@example.com", "battery staple")


@pytest.mark.parametrize("subject", ["u_2000", "u_x", "u_01", "1", "", "u_1.0"])
async def test_a_subject_is_one_person_or_none(users, subject):
    assert await users.by_subject(subject) is None


async def test_the_account_behind_a_subject(users):
    found = await users.by_subject("u_1")
    assert isinstance(found, Account) and found.email == "Ada@example.com" and not found.disabled
    assert (await users.by_subject("u_2")).disabled


def test_a_key_of_two_columns_is_refused():
    with pytest.raises(ConfigError, match="2 columns"):
        SQLAlchemyUsers(Pair, lambda: iter(()), email=Pair.a)
