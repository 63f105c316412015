"""Known devices on the wire: good for one account, until their end, as they were written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.crypto.devices import Device, Devices
from watchword.crypto.strict import decode64, encode64

OLD, NEW = "Zk3vQ8xN1rT6wYb4Lm9Pc2Hd7Jf5Gs0A", "q7Wc2Hd7Jf5Gs0AZk3vQ8xN1rT6wYb4L"
NOW = 1_800_000_000.0
DEVICE = Device(b"i" * 16, 7, int(NOW) + 100)
DEVICES = Devices([NEW])
TEXT = DEVICES.written(DEVICE, "u_ada").clear


@given(st.binary(min_size=16, max_size=16), st.integers(0, 2**63), st.text(max_size=20))
def test_what_is_written_is_read(device_id, rev, subject):
    device = Device(device_id, rev, int(NOW) + 1)
    written = DEVICES.written(device, subject)
    assert DEVICES.read(written.clear, subject, NOW) == device
    assert DEVICES.read(written.clear, subject + "x", NOW) is None


def test_it_ends_when_it_says():
    assert DEVICES.read(TEXT, "u_ada", NOW + 99.9) == DEVICE
    assert DEVICES.read(TEXT, "u_ada", NOW + 100) is None


@pytest.mark.attack("S-07", "S-06")
def test_it_tells_no_name_and_is_not_printed():
    assert b"ada" not in decode64(TEXT.encode())
    assert len(TEXT) == 64
    assert TEXT not in repr(DEVICES.written(DEVICE, "u_ada"))


def test_the_secret_before_still_reads_and_no_longer_writes():
    both = Devices([NEW, OLD])
    assert both.read(Devices([OLD]).written(DEVICE, "u_ada").clear, "u_ada", NOW) == DEVICE
    assert both.written(DEVICE, "u_ada") == DEVICES.written(DEVICE, "u_ada")
    assert DEVICES.read(Devices([OLD]).written(DEVICE, "u_ada").clear, "u_ada", NOW) is None


@pytest.mark.attack("L-05")
def test_no_bit_of_it_can_be_changed():
    raw = decode64(TEXT.encode())
    for n in range(len(raw) * 8):
        forged = bytearray(raw)
        forged[n // 8] ^= 1 << n % 8
        assert DEVICES.read(encode64(bytes(forged)).decode(), "u_ada", NOW) is None


@pytest.mark.attack("L-05")
def test_the_end_of_a_device_is_not_the_beginning_of_a_subject():
    for cut in range(1, len("u_ada")):
        body = decode64(TEXT.encode())
        moved = body[: 32 - cut] + body[32:]
        assert DEVICES.read(encode64(moved).decode(), "u_ada", NOW) is None


@given(st.text(max_size=80))
def test_junk_is_none(text):
    assert DEVICES.read(text, "u_ada", NOW) is None


@pytest.mark.parametrize(
    "text", ["", TEXT[:-1], TEXT + "A", TEXT + "=", f" {TEXT[1:]}", "\u00e9" * 64, "+" * 64]
)
def test_near_misses_are_none(text):
    assert DEVICES.read(text, "u_ada", NOW) is None
