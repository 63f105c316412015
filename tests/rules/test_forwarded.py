"""Whose request is it: only named proxies are believed, and only about the hop before them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.errors import ConfigError
from watchword.rules import forwarded
from watchword.rules.forwarded import TrustedProxies, address_key, wide_key

PROXY, CLIENT = "10.0.0.1", "203.0.113.7"
TRUSTED = TrustedProxies.parse(["10.0.0.0/8", "fd00::/8", "unix"])


def xff(*lines: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", line.encode("latin-1")) for line in lines]


@pytest.mark.parametrize(
    "entries",
    [
        ["*"],
        ["0.0.0.0/0"],
        ["::/0"],
        ["10.0.0.0/8", "::/0"],
        ["0.0.0.0/1", "128.0.0.0/1"],
        ["::ffff:0:0/96"],
        [""],
        ["localhost"],
        ["10.0.0.1/8"],
        ["10.0.0.0/33"],
        ["10.0.0"],
        ["fe80::1%eth0/64"],
        ["unix:/run/app.sock"],
    ],
)
@pytest.mark.attack("L-09")
def test_nobody_and_everybody_are_no_proxies(entries):
    with pytest.raises(ConfigError, match="TRUSTED_PROXIES"):
        TrustedProxies.parse(entries)


def test_without_proxies_the_peer_is_the_client():
    nobody = TrustedProxies.parse([])
    assert nobody.client_ip(CLIENT, xff("1.2.3.4")) == CLIENT
    assert nobody.client_ip(None, xff("1.2.3.4")) == "unknown"
    assert nobody.client_ip("testclient", xff("1.2.3.4")) == "testclient"


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([CLIENT], CLIENT),
        (["1.2.3.4, 203.0.113.7"], CLIENT),
        (["1.2.3.4", "203.0.113.7,10.9.9.9"], CLIENT),
        (["garbage, 203.0.113.7 ,\t10.9.9.9"], CLIENT),
        (["203.0.113.7:51234"], CLIENT),
        (["::ffff:203.0.113.7"], CLIENT),
        (["[::ffff:203.0.113.7]:80"], CLIENT),
        (["2001:DB8::0001"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["[2001:db8::1]:443"], "2001:db8::1"),
        (["fe80::1%eth0"], "fe80::1"),
        (["203.0.113.7, fd00::2"], CLIENT),
        (["203.0.113.7, ::ffff:10.2.2.2"], CLIENT),
    ],
)
def test_the_first_untrusted_hop_from_the_right(lines, client):
    assert TRUSTED.client_ip(PROXY, xff(*lines)) == client
    assert TRUSTED.client_ip("::ffff:10.0.0.1", xff(*lines)) == client


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        [" "],
        ["203.0.113.7,"],
        ["203.0.113.7", ""],
        ["203.0.113.7, unknown"],
        ["203.0.113.7, _hidden"],
        ["203.0.113.7, 1.2.3"],
        ["203.0.113.7, 01.2.3.4"],
        ["203.0.113.7, 1.2.3.4:"],
        ["203.0.113.7, 1.2.3.4:x"],
        ["203.0.113.7, 1.2.3.4:65536"],
        ["203.0.113.7, 1.2.3.4:000080"],
        ["203.0.113.7, 1.2.3.4%eth0"],
        ["203.0.113.7, [1.2.3.4]"],
        ["203.0.113.7, [2001:db8::1"],
        ["203.0.113.7, [2001:db8::1]443"],
        ["203.0.113.7, [2001:db8::1]:²"],
        ["203.0.113.7, 1.2.3.4 5.6.7.8"],
        ["203.0.113.7, 1.2.3.4\xa0"],
        ["203.0.113.7, for=1.2.3.4"],
        ["10.2.2.2, 10.3.3.3"],
        [", ".join([CLIENT] * 33)],
    ],
)
def test_what_cannot_be_read_counts_as_the_peer(lines):
    assert TRUSTED.client_ip(PROXY, xff(*lines)) == PROXY
    assert TRUSTED.client_ip(None, xff(*lines)) == "unknown"


def test_thirty_two_hops_are_read():
    assert TRUSTED.client_ip(PROXY, xff(", ".join([CLIENT, *["10.1.1.1"] * 31]))) == CLIENT


def test_a_unix_socket_is_trusted_only_by_name():
    assert TRUSTED.client_ip(None, xff(CLIENT)) == CLIENT
    assert TRUSTED.client_ip("", xff(CLIENT)) == CLIENT
    assert TrustedProxies.parse(["10.0.0.0/8"]).client_ip(None, xff(CLIENT)) == "unknown"


def test_only_the_one_configured_header_is_read():
    headers = [(b"forwarded", b"for=1.2.3.4"), (b"X-Real-IP", b"1.2.3.4"), *xff(CLIENT)]
    assert TRUSTED.client_ip(PROXY, headers) == CLIENT
    assert TRUSTED.client_ip(PROXY, headers, "X-Real-Ip") == "1.2.3.4"
    assert TRUSTED.client_ip(PROXY, headers, "true-client-ip") == PROXY


def test_mapped_networks_are_ipv4_networks():
    mapped = TrustedProxies.parse(["::ffff:10.0.0.0/104", " 192.0.2.1 "])
    assert mapped == TrustedProxies.parse(["10.0.0.0/8", "192.0.2.1/32"])
    assert mapped.client_ip("192.0.2.1", xff(CLIENT)) == CLIENT


@given(st.lists(st.binary(max_size=60), max_size=4), st.sampled_from([PROXY, None, CLIENT, "x"]))
def test_no_header_breaks_it(lines, peer):
    found = TRUSTED.client_ip(peer, [(b"x-forwarded-for", line) for line in lines])
    assert found == (peer or "unknown") or address_key(found) != "unknown"


@given(st.text(max_size=40), st.ip_addresses(v=4))
def test_what_stands_left_of_the_client_never_matters(left, client):
    if str(client).startswith("10."):
        return
    line = f"{left},{client}, 10.1.1.1".encode("utf-8", "replace")
    found = TRUSTED.client_ip(PROXY, [(b"x-forwarded-for", line)])
    assert found == (PROXY if line.count(b",") >= 32 else str(client))


def test_keys():
    assert address_key("203.0.113.7") == wide_key("203.0.113.7") == "203.0.113.7"
    assert address_key("2001:DB8:1:2:3::4") == "2001:db8:1:2::/64"
    assert wide_key("2001:db8:1:2:3::4") == "2001:db8:1::/48"
    assert address_key("fe80::1%eth0") == "fe80::/64"
    assert address_key("::ffff:203.0.113.7") == "203.0.113.7"
    for nothing in ("", "unknown", "testclient", "1.2.3.4:5", "[::1]", "*"):
        assert address_key(nothing) == wide_key(nothing) == "unknown"


@pytest.mark.attack("D-08")
def test_no_text_that_anybody_chooses_is_kept_for_long(monkeypatch):
    parsed = []
    monkeypatch.setattr(forwarded, "ip_address", lambda text: parsed.append(text) or 1 / 0)
    for text in ("1" * 46, "1::" + "0" * 60_000, "x" * 1_000):
        assert address_key(text) == "unknown"
    assert parsed == []
    assert forwarded._parsed.cache_info().maxsize == 1024
