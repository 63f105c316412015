"""Where Redis is: every form, every mistake, and no password in any message."""

from __future__ import annotations

import pytest

from watchword.errors import ConfigError
from watchword.shared import Address

ONE = {
    "redis://localhost": ("server", (("localhost", 6379),), 0, "redis://localhost:6379/0"),
    "redis://h:1/3": ("server", (("h", 1),), 3, "redis://h:1/3"),
    "rediss://h/": ("server", (("h", 6379),), 0, "rediss://h:6379/0"),
    " redis://[::1]:7/2 ": ("server", (("::1", 7),), 2, "redis://[::1]:7/2"),
    "unix:///run/redis.sock": ("server", (), 0, "unix:///run/redis.sock"),
    "unix:///run/a%20b?db=4": ("server", (), 4, "unix:///run/a b"),
    "redis+sentinel://a,b:7/main": (
        "sentinel", (("a", 26379), ("b", 7)), 0, "redis+sentinel://a:26379,b:7/main/0",
    ),
    "rediss+sentinel://a/main/5": (
        "sentinel", (("a", 26379),), 5, "rediss+sentinel://a:26379/main/5",
    ),
    "redis+cluster://a:1,b,c:3": (
        "cluster", (("a", 1), ("b", 6379), ("c", 3)), 0, "redis+cluster://a:1,b:6379,c:3",
    ),
    "rediss+cluster://a/": ("cluster", (("a", 6379),), 0, "rediss+cluster://a:6379"),
}  # fmt: skip


@pytest.mark.parametrize("url", ONE)
def test_every_form(url):
    kind, hosts, db, text = ONE[url]
    found = Address.parse(url)
    assert (found.kind, found.hosts, found.db, str(found)) == (kind, hosts, db, text)
    assert found.tls == url.startswith("rediss")
    assert (found.username, found.password) == (None, None)


@pytest.mark.parametrize(
    ("url", "username", "password"),
    [
        ("redis://:p%40s%23@h", None, "p@s#"),
        ("redis://me:p:w@h", "me", "p:w"),
        ("redis://me@h", "me", None),
        ("redis+cluster://me:pw@a,b", "me", "pw"),
        ("redis+sentinel://me:pw@a,b/main", "me", "pw"),
        ("unix:///s?password=pw", None, "pw"),
        ("unix://me:pw@/s", "me", "pw"),
    ],
)
def test_credentials(url, username, password):
    found = Address.parse(url)
    assert (found.username, found.password) == (username, password)


def test_options():
    url = "rediss+sentinel://a/main?ssl_ca_certs=/c.pem&sentinel_username=s&sentinel_password=x%26y"
    assert Address.parse(url).options == {
        "ssl_ca_certs": "/c.pem",
        "sentinel_username": "s",
        "sentinel_password": "x&y",
    }


WRONG = {
    "": "begins with none of",
    "h:6379": "begins with none of",
    "http://h": "begins with none of",
    "redis+sentinel:/h": "begins with none of",
    "redis://": "a host is missing",
    "redis://:6379": "a host is missing",
    "redis://a,b": "redis+sentinel:// or redis+cluster://",
    "redis+cluster://a,,b": "a host is missing",
    "redis://h:port": "a port is a number",
    "redis://h:70000": "a port is a number",
    "redis://h:0": "a host is missing",
    "redis://h/x": "the database is not a number",
    "redis://h/-1": "the database is not a number",
    "redis://h/1/2": "too much behind",
    "redis+sentinel://a": "the service's name is missing",
    "redis+sentinel://a/main/1/2": "too much behind",
    "redis+cluster://a/1": "no numbered databases",
    "redis://h#1": "a # in a password is written %23",
    "redis://[::1": "",
    "unix://host/s": "a socket needs a path",
    "unix:///": "a socket needs a path",
    "unix:///s?db=x": "not a number",
    "unix://:a@/s?password=b": "two passwords",
    "redis://h?db=1": "'db' that means nothing",
    "rediss://h?ssl_cert_reqs=none": "'ssl_cert_reqs' that means nothing; it knows ssl_ca_certs",
    "redis://h?ssl_ca_certs=x": "means nothing",
    "unix:///s?db=1&db=2": "db twice",
}


@pytest.mark.parametrize("url", WRONG)
def test_every_mistake_is_told(url):
    with pytest.raises(ConfigError) as refused:
        Address.parse(url)
    assert refused.value.what == "REDIS_URL cannot be used."
    assert WRONG[url] in refused.value.why
    assert "redis+sentinel://" in refused.value.fix


@pytest.mark.attack("S-02")
@pytest.mark.parametrize(
    "url",
    [
        "redis://me:hunter2@h:x", "redis://me:hunter2@", "redis://:hunter2@a,b", "x://:hunter2@h",
        "redis://:hunter2#@h", "unix:///s?password=hunter2&x=1", "redis://h/hunter2",
        "redis+sentinel://:hunter2@h", "redis://hunter2@[::1", "redis://:hunter2@h?hunter=hunter2",
    ],
)  # fmt: skip
def test_a_mistake_repeats_no_password(url):
    with pytest.raises(ConfigError) as refused:
        Address.parse(url)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_no_password_in_its_text():
    found = Address.parse("redis+sentinel://me:hunter2@h/main?sentinel_password=hunter3")
    assert "hunter" not in f"{found} {found!r}"
    told = "no luck with hunter2 nor hunter3"
    assert found.without_secrets(told) == "no luck with *** nor ***"


def test_each_turn_begins_with_another_host():
    found = Address.parse("redis+cluster://a:1,b:2")
    assert [found.turned(n)[0][0] for n in range(4)] == ["a", "b", "a", "b"]
    assert set(found.turned(1)) == set(found.hosts)
    assert Address.parse("unix:///s").turned(3) == ()
