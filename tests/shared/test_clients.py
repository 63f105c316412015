"""Clients for every address: by TLS, past sentinels, in a cluster, with few rights."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
import sys
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from vk import Cluster, Valkey, Watched, Wire, closing, until

from watchword.errors import ConfigError
from watchword.rules.rates import Limit
from watchword.shared import Fault, RedisCounters, RedisSeenIds, RedisWakes, Shared

LIMIT = Limit(1000, 3600.0)


async def took(counters: RedisCounters) -> int:
    """What is left of the bucket after one more unit."""
    return (await counters.take([("a", LIMIT)], 0.0))[0].remaining


async def back(counters: RedisCounters, within: float = 15.0) -> int:
    end = time.monotonic() + within
    while True:
        try:
            return await took(counters)
        except Fault:
            assert time.monotonic() < end, "it does not come back"
            await asyncio.sleep(0.05)


def test_the_package_is_named_when_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigError) as refused:
        Shared("redis://h")
    assert refused.value.fix == "pip install watchword[redis]"


def test_who_has_no_redis_does_not_load_its_client():
    import subprocess

    text = "import sys, watchword.shared; print('redis' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Of a server at 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "limits")])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=36500))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder


async def test_by_tls_to_nobody_but_the_server_meant(valkey, connect, certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    async with Wire(valkey.port, ssl=context) as wire:
        trusting = connect(f"{wire.url}?ssl_ca_certs={certificate / 'cert.pem'}")
        assert await took(RedisCounters(trusting)) == 999
        other = RedisCounters(connect(wire.url))
        with pytest.raises(Fault, match="certificate verify failed"):
            await took(other)
        wrong_name = f"{wire.url}?ssl_ca_certs={certificate / 'cert.pem'}"
        wrong = RedisCounters(connect(wrong_name.replace("127.0.0.1", "localhost")))
        with pytest.raises(Fault, match="certificate"):
            await took(wrong)
        await trusting.aclose()


RIGHTS = (
    "~watchword:* &watchword:* +eval +evalsha +time +get +set +del"
    " +publish +subscribe +unsubscribe +ping +info"
)


async def test_the_rights_that_the_manual_names_are_enough(connect, caplog):
    server = Valkey()
    with closing(server):
        server.do("ACL", "SETUSER", "watchword", "on", ">pw", *RIGHTS.split())
        shared = connect(f"redis://watchword:pw@127.0.0.1:{server.port}")
        counters = RedisCounters(shared)
        assert await took(counters) == 999
        await counters.reset(["a"])
        ids = RedisSeenIds(shared, None, lambda: 0.0, bytes)
        assert await ids.first_time("proof", "x", 9.0)
        wakes, heard = RedisWakes(shared), asyncio.Event()
        listening = asyncio.create_task(wakes.listen(heard.set))
        await asyncio.wait_for(heard.wait(), 5)
        heard.clear()
        await wakes.publish()
        await asyncio.wait_for(heard.wait(), 5)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        assert not caplog.records
        with pytest.raises(Fault, match="NoPermission"):
            await shared.run(lambda it: it.get("another"))


async def test_and_in_a_cluster_those_with_two_more(connect):
    cluster = Cluster()
    with closing(*cluster.nodes):
        for node in cluster.nodes:
            rights = f"{RIGHTS} +cluster|slots +command".split()
            node.do("ACL", "SETUSER", "watchword", "on", ">pw", *rights)
        shared = connect(cluster.url.replace("://", "://watchword:pw@"))
        counters = RedisCounters(shared)
        asks = [(name, LIMIT) for name in "abcdefgh"]
        assert len(await counters.take(asks, 0.0)) == len(asks)
        await counters.reset([name for name, _ in asks])
        heard = asyncio.Event()
        listening = asyncio.create_task(RedisWakes(shared).listen(heard.set))
        await asyncio.wait_for(heard.wait(), 5)
        heard.clear()
        await RedisWakes(shared).publish()
        await asyncio.wait_for(heard.wait(), 5)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        with pytest.raises(Fault, match="NoPermission"):
            await shared.run(lambda it: it.get("another"))
        await shared.aclose()


@pytest.fixture(scope="module")
def watched():
    """One for all tests, the last of which kills its primary."""
    made = Watched()
    yield made
    made.close()


async def test_a_sentinel_that_hangs_is_passed_over(watched, connect):
    watched.sentinels[0].freeze()
    counters = RedisCounters(connect(watched.url, 3.0))
    assert await back(counters) >= 990
    watched.sentinels[0].thaw()


async def test_a_service_that_sentinels_do_not_know(watched, connect):
    shared = connect(watched.url.replace(f"/{watched.NAME}/", "/other/"))
    with pytest.raises(Fault, match="No master found for 'other'"):
        await took(RedisCounters(shared))


@pytest.mark.attack("Z-14")
async def test_a_primary_hangs_and_comes_back_as_a_replica(watched, connect):
    """The frozen one thinks it is still the primary; nobody goes back to it."""
    primary, replica = watched.primary, watched.replica
    counters = RedisCounters(connect(watched.url, 0.3))
    await back(counters)
    primary.freeze()
    with pytest.raises(Fault):
        await took(counters)
    await asyncio.to_thread(watched.until_it_has_taken_over, replica)
    left = await back(counters, within=5.0)
    primary.thaw()
    await asyncio.to_thread(until, lambda: primary.do("ROLE")[0] == "slave", "it is told")
    assert await back(counters) == left - 1


@pytest.mark.attack("Z-14")
async def test_a_primary_dies_and_its_replica_is_found(watched, connect):
    primary, replica = watched.primary, watched.replica
    counters = RedisCounters(connect(watched.url, 1.0))
    before = await back(counters)
    until(lambda: "master_link_status:up" in replica.do("INFO", "replication"), "it follows")
    assert await took(counters) == before - 1
    primary.kill()
    with pytest.raises(Fault):
        await took(counters)
    await asyncio.to_thread(watched.until_it_has_taken_over, replica)
    assert await back(counters, within=5.0) in (before - 1, before - 2), "it was counted, or lost"


@pytest.mark.attack("Z-14")
async def test_a_primary_of_a_cluster_dies_and_its_replica_is_found(connect):
    cluster = Cluster(replicas=True)
    with closing(*cluster.nodes):
        counters = RedisCounters(connect(cluster.url, 1.0))
        asks = [(name, LIMIT) for name in "abcdefgh"]

        async def all_taken() -> bool:
            try:
                return len(await counters.take(asks, 0.0)) == len(asks)
            except Fault:
                return False

        assert await all_taken()
        cluster.primaries[0].kill()
        took_over = cluster.replicas[0]
        await asyncio.to_thread(
            until, lambda: took_over.do("ROLE")[0] == "master", "a replica has taken over"
        )
        end = time.monotonic() + 15
        while not await all_taken():
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        # The first node it was told of may be the dead one, whose turn comes again and again.
        for _ in range(5):
            counters._shared._drop(counters._shared._client)
            assert await all_taken()
