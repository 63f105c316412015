"""Rows of the attack catalogue about limits, through the parts that a server puts together."""

from __future__ import annotations

from contextlib import closing
from ipaddress import IPv6Address

import pytest
from processes import raced
from waitless import inline

from watchword.errors import TooManyRequests
from watchword.limits import Fallback, Limit, Limits, ProcessCounters
from watchword.rules.forwarded import TrustedProxies, address_key, wide_key
from watchword.store.counters import FAULTS, SqliteCounters

NOW = 1_764_000_000.0
POLICIES = {
    "login_account_ip": Limit.parse("5 + 1/min"),
    "login_ip": Limit.parse("20 + 1/s"),
    "login_wide": Limit.parse("100 + 1/s"),
}


def allowed(limits: Limits, now: float, *keys: tuple[str, str]) -> bool:
    try:
        return inline(limits.spend(now, *keys)).allowed
    except TooManyRequests:
        return False


@pytest.fixture
def limits() -> Limits:
    return Limits(ProcessCounters(), POLICIES)


SPOOFED = ["x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip"]


@pytest.mark.attack("L-09")
@pytest.mark.parametrize("header", SPOOFED)
def test_rotating_a_forwarding_header_buys_nothing(limits, header):
    nobody = TrustedProxies.parse([])
    through = 0
    for turn in range(200):
        lines = [(header.encode(), f"198.51.100.{turn}".encode())] * (1 + turn % 3)
        ip = nobody.client_ip("203.0.113.7", lines)
        through += allowed(limits, NOW, ("login_ip", address_key(ip)))
    assert through == 20


@pytest.mark.attack("L-09")
@pytest.mark.parametrize(
    "forged",
    ["198.51.100.{n}", "198.51.100.{n}, 198.51.100.9", "{n}", "[::{n}]:99, x", "10.0.0.{n}"],
)
def test_behind_a_trusted_proxy_the_left_hand_side_buys_nothing(limits, forged):
    proxies = TrustedProxies.parse(["10.0.0.1", "10.0.0.2"])
    through = 0
    for turn in range(200):
        line = f"{forged.format(n=turn)}, 203.0.113.7:{1024 + turn}, 10.0.0.2"
        ip = proxies.client_ip("10.0.0.1", [(b"x-forwarded-for", line.encode())])
        through += allowed(limits, NOW, ("login_ip", address_key(ip)))
    assert through == 20


@pytest.mark.attack("L-10")
def test_a_whole_64_is_one_client_and_a_48_is_one_site(limits):
    start = int(IPv6Address("2001:db8:1:2::"))
    through = 0
    for host in range(65_536):
        ip = str(IPv6Address(start + (host << 40)))
        through += allowed(limits, NOW, ("login_ip", address_key(ip)))
    assert through == 20
    site = int(IPv6Address("2001:db8:7::"))
    through = 0
    for net in range(4_096):
        ip = str(IPv6Address(site + (net << 64)))
        keys = (("login_wide", wide_key(ip)), ("login_ip", address_key(ip)))
        through += allowed(limits, NOW, *keys)
    assert through == 100


@pytest.mark.attack("L-10")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("::FFFF:102:304", "1.2.3.4"),
        ("fe80::1%eth0", "fe80::2%eth1"),
        ("2001:DB8::A", "2001:db8:0:0::a"),
    ],
)
def test_two_spellings_are_one_client(one, other):
    assert address_key(one) == address_key(other) != "unknown"
    assert wide_key(one) == wide_key(other)


@pytest.mark.attack("L-11")
def test_there_is_no_window_edge(limits):
    key = ("login_account_ip", "johndoe|203.0.113.7")
    for edge in range(0, 600, 60):
        late = sum(allowed(limits, NOW + 10_000 * edge + 59.9, key) for _ in range(9))
        early = sum(allowed(limits, NOW + 10_000 * edge + 60.0, key) for _ in range(9))
        assert (late, early) == (5, 0)


NODE = """
import sys, threading, time
from watchword.errors import TooManyRequests
from watchword.limits import Limit, Limits
from watchword.store.counters import SqliteCounters

counters = SqliteCounters(sys.argv[1])
limits = Limits(counters, {"login_account_ip": Limit.parse("5 + 1/h")})
reached = []

def work():
    for _ in range(10):
        try:
            limits.spend(time.time(), ("login_account_ip", "johndoe|203.0.113.7")).send(None)
        except StopIteration:
            reached.append(1)
        except TooManyRequests:
            pass
        limits._refused.clear()  # so that every try is decided by the shared file

threads = [threading.Thread(target=work) for _ in range(5)]
print("ready", flush=True)
sys.stdin.readline()
for thread in threads: thread.start()
for thread in threads: thread.join()
counters.close()
print(len(reached))
"""


@pytest.mark.attack("L-12")
def test_two_hundred_tries_in_four_processes_race_for_five_units(tmp_path):
    assert sum(raced(NODE, str(tmp_path / "rl.db"))) == 5


@pytest.mark.attack("D-08")
def test_a_flood_of_names_fills_a_bounded_space():
    counters = ProcessCounters()
    limits = Limits(counters, {"login_account": Limit.parse("20 + 20/h")})
    for turn in range(150_000):
        inline(limits.spend(NOW + turn * 0.0001, ("login_account", f"user{turn}")))
        if turn % 10_000 == 0:
            assert len(counters) <= 100_000
    assert 90_000 <= len(counters) <= 100_000


@pytest.mark.attack("D-08")
def test_a_flood_from_one_address_makes_no_keys_beyond_its_own_limit():
    counters = ProcessCounters()
    limits = Limits(counters, POLICIES)
    for turn in range(5_000):
        allowed(
            limits, NOW, ("login_ip", "203.0.113.7"), ("login_account_ip", f"{turn}|203.0.113.7")
        )
    assert len(counters) == 21


@pytest.mark.attack("L-14")
def test_counters_that_go_away_leave_a_stricter_limit_and_come_back(tmp_path, caplog):
    path = tmp_path / "rl.db"
    with closing(SqliteCounters(path)) as counters:
        limits = Limits(Fallback(counters, FAULTS), POLICIES)
        key = ("login_ip", "203.0.113.7")
        assert sum(allowed(limits, NOW, key) for _ in range(50)) == 20
        counters.close()
        path.write_bytes(b"\0\1" * 4096)
        later = NOW + 3600
        assert sum(allowed(limits, later, key) for _ in range(50)) == 10
        assert len(caplog.records) == 1
        assert sum(allowed(limits, later + 60, key) for _ in range(50)) == 20
        assert len(caplog.records) == 1, "it works again"
