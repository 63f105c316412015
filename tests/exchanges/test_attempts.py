"""Which buckets an attempt to sign in is counted in."""

from __future__ import annotations

import pytest

from watchword.crypto.devices import Device
from watchword.exchanges.attempts import for_person, from_place
from watchword.seams import Account

ADA = Account("u_ada", "ada", email="ada@example.com")
IP = "203.0.113.7"


@pytest.mark.attack("L-10")
@pytest.mark.parametrize(
    ("ip", "buckets"),
    [
        (IP, [("login_ip", IP)]),
        ("::ffff:203.0.113.7", [("login_ip", IP)]),
        (
            "2001:db8:1:2:3::4",
            [("login_wide", "2001:db8:1::/48"), ("login_ip", "2001:db8:1:2::/64")],
        ),
        ("unknown", [("login_ip", "unknown")]),
    ],
)
def test_a_place_is_an_address_and_the_network_it_is_in(ip, buckets):
    assert list(from_place(ip)) == buckets


def test_a_person_is_the_same_whatever_was_typed():
    assert for_person(ADA, "ada", IP) == for_person(ADA, "Ada+spam@example.com", IP)
    assert for_person(ADA, "ada", IP) != for_person(Account("u_bob", "ada"), "ada", IP)
    assert [policy for policy, _ in for_person(ADA, "ada", IP)] == [
        "login_account", "login_account_ip",
    ]  # fmt: skip


@pytest.mark.attack("L-01")
def test_a_name_that_nobody_has_is_counted_by_the_same_policies():
    nobody = for_person(None, "ada", IP)
    assert [policy for policy, _ in nobody] == [policy for policy, _ in for_person(ADA, "ada", IP)]
    assert nobody == for_person(None, " ADA", IP)


def test_nobody_can_type_what_a_person_is_counted_under():
    mine = for_person(ADA, "ada", IP)
    for typed in ("u_ada", "sub u_ada", "name ada", " sub u_ada"):
        assert not set(mine) & set(for_person(None, typed, IP))


def test_one_person_has_a_bucket_for_each_address():
    wide, near = for_person(ADA, "ada", IP)
    assert for_person(ADA, "ada", "203.0.113.8")[0] == wide
    assert for_person(ADA, "ada", "203.0.113.8")[1] != near
    six = [for_person(ADA, "ada", f"2001:db8::{n}") for n in range(1, 4)]
    assert len(set(six)) == 1


@pytest.mark.attack("L-05")
def test_a_known_device_has_one_bucket_that_nobody_else_can_empty():
    device = Device(b"d" * 16, 1, 2)
    assert for_person(ADA, "ada", IP, device) == (("login_device", device.id.hex()),)
