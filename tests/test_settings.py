"""Every setting: where it comes from, what it refuses; rows K-01, K-10 and K-12."""

import datetime as dt
import os
import stat

import pytest

from watchword import settings
from watchword.errors import ConfigError

GOOD = "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A"
OTHER = "qT8vWm2Xc5Yb7Zn4Kj9Lh3Gf6Ds1Ap0R"
ISSUER = "https://id.example.com"


@pytest.fixture(autouse=True)
def _clean(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("WATCHWORD_") or name == "FASTAPI_ENV":
            monkeypatch.delenv(name)


def load(**given):
    return settings.load(**{"issuer": ISSUER, "secret": GOOD, **given})


def test_defaults_that_matter():
    found = load()
    assert found.env == "production"
    assert (found.access_ttl, found.refresh_ttl, found.refresh_max) == (
        600,
        30 * 86_400,
        90 * 86_400,
    )
    assert found.audience == ISSUER
    assert found.docs is None
    assert found.migrate == "check"
    assert found.trusted_proxies == found.browser_origins == ()


def test_every_setting_says_why_and_to_which_group_it_belongs():
    for name, field in settings.Settings.model_fields.items():
        assert field.description, name
        assert field.json_schema_extra["group"], name
    assert len(settings.Settings.model_fields) <= 45


@pytest.mark.attack("K-10")
def test_precedence(monkeypatch, tmp_path):
    (tmp_path / "watchword.toml").write_text(
        'access_ttl = "1m"\nrefresh_replay = 1\nprefix = "/t"\n'
    )
    (tmp_path / ".env").write_text("WATCHWORD_ACCESS_TTL=2m\nWATCHWORD_REFRESH_REPLAY=2\nOTHER=x\n")
    assert load().access_ttl == 120
    (tmp_path / "ttl").write_text("3m\n")
    monkeypatch.setenv("WATCHWORD_ACCESS_TTL_FILE", str(tmp_path / "ttl"))
    assert load().access_ttl == 180
    monkeypatch.setenv("WATCHWORD_ACCESS_TTL", "4m")
    assert load().access_ttl == 240
    assert load(access_ttl="5m").access_ttl == 300
    assert (load().refresh_replay, load().prefix) == (2, "/t")
    (tmp_path / "else.toml").write_text('prefix = "/else"\n')
    monkeypatch.setenv("WATCHWORD_CONFIG", str(tmp_path / "else.toml"))
    assert load().prefix == "/else"


@pytest.mark.attack("K-10")
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_a_secret_from_a_file_loses_its_newline(monkeypatch, tmp_path, end):
    (tmp_path / "secret").write_text(OTHER + end, newline="")
    monkeypatch.setenv("WATCHWORD_SECRET_FILE", str(tmp_path / "secret"))
    found = settings.load(issuer=ISSUER)
    assert found.secret == OTHER


@pytest.mark.attack("K-10", "S-06")
def test_a_secret_is_never_shown(monkeypatch, tmp_path):
    found = load(secret_previous=OTHER)
    for text in (repr(found), str(found), f"{found!r:>10}", f"{found}"):
        assert GOOD not in text
        assert OTHER not in text
    assert found.secrets == (GOOD, OTHER)
    for wrong in ({"access_ttl": GOOD}, {"env": GOOD}, {"hash_passes": GOOD}, {"docs": GOOD}):
        with pytest.raises(ConfigError) as refused:
            load(**wrong)
        assert GOOD not in str(refused.value)
        assert next(iter(wrong)) in str(refused.value)
    (tmp_path / "binary").write_bytes(b"\xff\xfe" + GOOD.encode())
    monkeypatch.setenv("WATCHWORD_SECRET_FILE", str(tmp_path / "binary"))
    with pytest.raises(ConfigError, match="WATCHWORD_SECRET_FILE") as refused:
        settings.load(issuer=ISSUER)
    assert GOOD not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.attack("K-10")
@pytest.mark.parametrize("path", ["/nowhere/at/all", "/"])
def test_a_file_that_cannot_be_read_is_named(monkeypatch, path):
    monkeypatch.setenv("WATCHWORD_SECRET_FILE", path)
    with pytest.raises(ConfigError, match="WATCHWORD_SECRET_FILE"):
        settings.load(issuer=ISSUER)


@pytest.mark.attack("K-12")
def test_a_misspelt_setting_is_refused_wherever_it_stands(monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match="did you mean access_ttl"):
        load(acces_ttl=60)
    monkeypatch.setenv("WATCHWORD_ACCESS_TLL", "60")
    with pytest.raises(ConfigError, match="did you mean WATCHWORD_ACCESS_TTL"):
        load()
    monkeypatch.delenv("WATCHWORD_ACCESS_TLL")
    monkeypatch.setenv("WATCHWORD_SECRETS_FILE", "/x")
    with pytest.raises(ConfigError, match="WATCHWORD_SECRET"):
        load()
    monkeypatch.delenv("WATCHWORD_SECRETS_FILE")
    (tmp_path / "watchword.toml").write_text("trusted_proxy = '10.0.0.1'\n")
    with pytest.raises(ConfigError, match="trusted_proxies"):
        load()
    (tmp_path / "watchword.toml").unlink()
    (tmp_path / ".env").write_text("WATCHWORD_LIMIT_LOGINIP=off\n")
    with pytest.raises(ConfigError, match="limit_login_ip"):
        load()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("30s", 30), ("10m", 600), ("12h", 43_200), ("1d", 86_400), (45, 45), ("45", 45), ("1.5m", 90),
     (dt.timedelta(minutes=2), 120)],
)  # fmt: skip
def test_durations(value, seconds):
    assert load(access_ttl=value).access_ttl == seconds


@pytest.mark.parametrize(
    "value", ["soon", "10 weeks", "-1m", "", "1m1s", 1, "nan", float("inf"), "1e9d"]
)
def test_durations_that_are_none(value):
    with pytest.raises(ConfigError, match="access_ttl"):
        load(access_ttl=value)


@pytest.mark.parametrize(
    "issuer",
    ["http://id.example.com", "https://id.example.com?x=1", "https://id.example.com#x", "https://",
     "https://u:p@id.example.com", "id.example.com", "ftp://id.example.com", "//id.example.com"],
)  # fmt: skip
def test_issuers_that_production_refuses(issuer):
    with pytest.raises(ConfigError, match="ISSUER"):
        load(issuer=issuer)


def test_the_issuer_must_be_said_and_loses_its_slash():
    with pytest.raises(ConfigError, match="ISSUER is missing"):
        load(issuer="")
    assert load(issuer="https://id.example.com/one/").issuer == "https://id.example.com/one"


def test_development_is_for_this_machine():
    given = {"env": "development", "database_url": "sqlite:///:memory:"}
    assert settings.load(**given).issuer == "http://localhost:8000"
    assert settings.load(**given).migrate == "auto"
    for issuer in (
        "https://id.example.com",
        "http://192.168.1.2:8000",
        "http://localhost.evil.com",
    ):
        with pytest.raises(ConfigError, match="Development mode is for this machine"):
            load(**given, issuer=issuer)
    for issuer in ("http://127.0.0.1:8000", "http://[::1]:8000", "http://app.localhost"):
        assert load(**given, issuer=issuer).is_development


def test_fastapis_development_mode_counts_on_loopback_only(monkeypatch):
    monkeypatch.setenv("FASTAPI_ENV", "development")
    assert load(issuer="http://localhost:8000").is_development
    assert not load().is_development
    assert not load(env="production").is_development


@pytest.mark.attack("W-09")
@pytest.mark.parametrize(
    "origin",
    ["*", "null", "https://*.example.com", "http://app.example.com", "https://app.example.com/",
     "https://app.example.com/path", "https://u@app.example.com", "app.example.com", "https://",
     "HTTPS://APP.EXAMPLE.COM", "javascript://x", "https://app.example.com?x"],
)  # fmt: skip
def test_what_is_no_web_origin(origin):
    with pytest.raises(ConfigError, match="BROWSER_ORIGINS"):
        load(browser_origins=f"https://good.example.com {origin}")


def test_web_origins(monkeypatch):
    monkeypatch.setenv("WATCHWORD_BROWSER_ORIGINS", "https://a.example.com, http://localhost:5173")
    assert load().browser_origins == ("https://a.example.com", "http://localhost:5173")


@pytest.mark.parametrize(
    ("wrong", "name"),
    [({"database_url": "mysql://x"}, "DATABASE_URL"), ({"prefix": "auth"}, "PREFIX"),
     ({"prefix": "/auth/"}, "PREFIX"), ({"prefix": "/"}, "PREFIX"), ({"key_overlap": "11m"}, "KEY_OVERLAP"),
     ({"access_token_alg": "HS256"}, "access_token_alg"), ({"access_token_alg": "none"}, "access_token_alg"),
     ({"hash_memory_kib": 1}, "hash_memory_kib"), ({"refresh_replay": 61}, "refresh_replay"),
     ({"access_ttl": "2d"}, "access_ttl")],
)  # fmt: skip
def test_values_that_would_not_be_safe(wrong, name):
    with pytest.raises(ConfigError, match=name):
        load(**wrong)


def test_settings_do_not_change():
    found = load()
    with pytest.raises(Exception, match="frozen"):
        found.issuer = "https://evil.example.com"


@pytest.mark.attack("S-07", "K-10")
def test_developments_own_secret_is_kept_for_its_owner_alone(tmp_path):
    given = {"env": "development", "database_url": f"sqlite:///{tmp_path}/x/main.db"}
    before = os.umask(0)
    try:
        first = settings.load(**given).secret
    finally:
        os.umask(before)
    path = tmp_path / "x" / ".watchword" / "secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert settings.load(**given).secret == first
    assert (path.parent / ".gitignore").read_text() == "*\n"
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others") as refused:
        settings.load(**given)
    assert first not in str(refused.value)


def test_weakness_lets_real_secrets_through():
    import secrets

    for _ in range(2000):
        assert settings.weakness(secrets.token_urlsafe(32)) is None
        assert settings.weakness(secrets.token_hex(32)) is None
