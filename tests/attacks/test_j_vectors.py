"""Forged signatures of the kinds that Project Wycheproof collects, made here anew.

The published vector files come from no package index, so equal cases are generated: the
degenerate and re-encoded ECDSA signatures, every damage to PKCS #1 v1.5 padding, salts
and encodings of PSS, and non-canonical Ed25519.
"""

from __future__ import annotations

import base64
import hashlib
import itertools

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from watchword.crypto import jwk
from watchword.crypto.jose import KeySet, sign, verify
from watchword.crypto.jwk import SigningKey, new_private_key
from watchword.crypto.strict import encode64
from watchword.errors import InvalidToken

attack = pytest.mark.attack

AT = frozenset({"at+jwt"})
P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
L = 2**252 + 27742317777372353535851937790883648493  # order of the Ed25519 base point

KEYS = {
    alg: SigningKey(alg, alg, new_private_key(alg))
    for alg in ("ES256", "RS256", "PS256", "Ed25519")
}
OURS = KeySet(key.public() for key in KEYS.values())
TOKENS = {alg: sign({"sub": "ada"}, key, "at+jwt") for alg, key in KEYS.items()}


def parts(alg: str) -> tuple[bytes, bytes]:
    message, _, signature = TOKENS[alg].rpartition(".")
    return message.encode(), base64.urlsafe_b64decode(signature + "==")


def verdict(alg: str, signature: bytes) -> bool:
    try:
        verify(f"{parts(alg)[0].decode()}.{encode64(signature).decode()}", OURS, typ=AT)
    except InvalidToken as fault:
        assert fault.detail == "bad signature"
        return False
    return True


@pytest.mark.parametrize("alg", sorted(KEYS))
def test_the_generator_starts_from_good_signatures(alg: str) -> None:
    assert verdict(alg, parts(alg)[1])


@attack("J-13", "J-44")
def test_degenerate_ecdsa_values() -> None:
    r, s = (
        int.from_bytes(half, "big") for half in (parts("ES256")[1][:32], parts("ES256")[1][32:])
    )
    special = {
        0,
        1,
        2,
        N - 1,
        N,
        N + 1,
        P - N,
        P - 1,
        P,
        P + 1,
        2**255,
        2**256 - 1,
        (N - 1) // 2,
        (N + 1) // 2,
    }
    cases = [
        *itertools.product(special, special),
        *((r, value) for value in special),
        *((value, s) for value in special),
    ]
    cases += [(s, r), (N - r, s), (N - r, N - s), (r ^ 1, s), (r, s ^ 1)]
    cases += [(r, s + N), (r + N, s), (r - N, s), (r, s - N)]
    for one, two in cases:
        if 0 <= one < 2**256 and 0 <= two < 2**256:
            assert not verdict("ES256", one.to_bytes(32, "big") + two.to_bytes(32, "big")), (
                one,
                two,
            )
    assert not verdict("ES256", (r + N).to_bytes(33, "big") + s.to_bytes(33, "big"))


@attack("J-13")
def test_degenerate_values_do_not_reach_the_backend() -> None:
    for r, s in itertools.product((0, 1, N - 1, N, 2**256 - 1), repeat=2):
        if not (0 < r < N and 0 < s < N):
            with pytest.raises(InvalidSignature):  # no key is there to be asked
                jwk._check_es256(None, r.to_bytes(32, "big") + s.to_bytes(32, "big"), b"")  # type: ignore[arg-type]


@attack("J-14", "J-44")
def test_ecdsa_encodings() -> None:
    message, raw = parts("ES256")
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    der = encode_dss_signature(r, s)
    half = [raw[:32], raw[32:]]
    cases = [
        der,
        raw + b"\0",
        raw + b"\0\0",
        raw + raw,
        b"\0" + raw,
        b"\0" + half[0] + b"\0" + half[1],
        half[0] + b"\0" + half[1],
        half[0] + b"\0" + half[1] + b"\0",
        raw[:-1],
        raw[1:],
        raw[:32],
        b"",
        b"\0" * 64,
        b"\xff" * 64,
        b"\0" * 48 + raw,
        half[1] + half[0],
        half[0][::-1] + half[1][::-1],
        KEYS["ES256"]._private.sign(message, ec.ECDSA(hashes.SHA256())),
    ]
    cases += [
        raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]
        for place in range(64)
        for bit in (0, 7)
    ]
    assert not any(verdict("ES256", case) for case in cases)


@attack("J-14", "J-44")
def test_ecdsa_over_another_hash_or_curve() -> None:
    message, _ = parts("ES256")
    private = KEYS["ES256"]._private
    for digest in (
        hashes.SHA1(),
        hashes.SHA224(),
        hashes.SHA384(),
        hashes.SHA512(),
        hashes.SHA3_256(),
    ):
        r, s = decode_dss_signature(private.sign(message, ec.ECDSA(digest)))
        assert not verdict("ES256", r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    for curve, name, size in (
        (ec.SECP384R1(), "P-384", 48),
        (ec.SECP521R1(), "P-521", 66),
        (ec.SECP256K1(), "secp256k1", 32),
        (ec.SECP256K1(), "P-256", 32),
    ):
        point = ec.generate_private_key(curve).public_key().public_numbers()
        x, y = (encode64(number.to_bytes(size, "big")).decode() for number in (point.x, point.y))
        point_jwk = {"kty": "EC", "crv": name, "x": x, "y": y, "kid": "ES256"}
        for alg in ({}, {"alg": "ES256"}, {"alg": "ES384"}, {"alg": "ES256K"}):
            keys = KeySet.from_jwks(
                {"keys": [{**point_jwk, **alg}]}, algorithms=frozenset({"ES256", "ES384", "ES256K"})
            )
            assert len(keys) == 0


SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def padded(
    info: bytes,
    filler: bytes | None = None,
    lead: bytes = b"\0\1",
    end: bytes = b"\0",
    tail: bytes = b"",
) -> bytes:
    filler = (
        b"\xff" * (256 - len(lead) - len(end) - len(info) - len(tail)) if filler is None else filler
    )
    return lead + filler + end + info + tail


def forgeries(digest: bytes) -> dict[str, bytes]:
    info = SHA256_INFO + digest
    algorithm = bytes.fromhex("300d06096086480165030402010500")
    oid = algorithm[2:13]
    octets = b"\x04\x20" + digest
    cases = {
        "no NULL": bytes.fromhex("302f300b0609608648016503040201") + octets,
        "NULL with content": bytes.fromhex("3033300f0609608648016503040201050200aa") + octets,
        "parameters 0": b"\x30\x32\x30\x0e" + oid + b"\x02\x01\x00" + octets,
        "long length of all": b"\x30\x81\x31" + algorithm + octets,
        "long length of algorithm": b"\x30\x32\x30\x81\x0d" + algorithm[2:] + octets,
        "long length of digest": b"\x30\x32" + algorithm + b"\x04\x81\x20" + digest,
        "length with leading zero": b"\x30\x82\x00\x31" + algorithm + octets,
        "indefinite length": b"\x30\x80" + algorithm + octets + b"\0\0",
        "indefinite algorithm": b"\x30\x33\x30\x80" + algorithm[2:] + b"\0\0" + octets,
        "garbage inside": b"\x30\x33" + algorithm + octets + b"\xaa\xaa",
        "garbage in algorithm": b"\x30\x33\x30\x0f" + algorithm[2:] + b"\xaa\xaa" + octets,
        "constructed octets": b"\x30\x33" + algorithm + b"\x24\x22" + octets,
        "bit string": b"\x30\x31" + algorithm + b"\x03\x20" + digest,
        "set": b"\x31" + info[1:],
        "no algorithm": octets,
        "digest only": digest,
        "SHA-1 name": bytes.fromhex("302d300906052b0e03021a0500") + octets,
        "SHA-512 name": info.replace(bytes.fromhex("0402010500"), bytes.fromhex("0402030500")),
        "MD5 name": bytes.fromhex("3030300c06082a864886f70d02050500") + octets,
        "short digest": b"\x30\x30" + algorithm + b"\x04\x1f" + digest[:-1],
        "long digest": b"\x30\x32" + algorithm + b"\x04\x21" + digest + b"\0",
        "empty digest": b"\x30\x11" + algorithm + b"\x04\x00",
    }
    ems = {name: padded(text) for name, text in cases.items()}
    ems |= {
        f"DigestInfo byte {place} bit {bit}": padded(
            info[:place] + bytes([info[place] ^ (1 << bit)]) + info[place + 1 :]
        )
        for place in range(len(info))
        for bit in (0, 3, 6, 7)
    }
    ems |= {
        f"garbage of {size} after": padded(info, tail=b"\xaa" * size) for size in (1, 8, 64, 196)
    }
    ems |= {f"zeros of {size} after": padded(info, tail=b"\0" * size) for size in (1, 8, 64, 196)}
    ems |= {
        f"{size} bytes of filler, rest after": padded(
            info, b"\xff" * size, tail=b"\xbb" * (256 - 3 - size - len(info))
        )
        for size in (0, 1, 7, 8, 9, 100)
    }
    whole = padded(info)
    ems |= {
        f"filler byte {place}": whole[:place] + bytes([value]) + whole[place + 1 :]
        for place in (2, 3, 9, 10, 100, 203)
        for value in (0, 1, 0x7F, 0xFE)
    }
    for lead in (b"\0\0", b"\0\2", b"\0\3", b"\0\xff", b"\1\1", b"\1", b"\0"):
        ems[f"lead {lead.hex()}"] = padded(info, lead=lead)
    for end in (b"\1", b"\xff", b"", b"\0\0", b"\0\xff"):
        ems[f"end {end.hex()}"] = padded(info, end=end)
    ems["zero filler"] = padded(info, b"\0" * 202)
    ems["encryption filler"] = padded(info, b"\x5a" * 202, lead=b"\0\2")
    return ems


@attack("J-16", "J-44")
def test_every_damage_to_pkcs1_padding() -> None:
    message, raw = parts("RS256")
    numbers = KEYS["RS256"]._private.private_numbers()
    n, d = numbers.public_numbers.n, numbers.d

    def signed(em: bytes) -> bytes:
        return pow(int.from_bytes(em, "big"), d, n).to_bytes(256, "big")

    digest = hashlib.sha256(message).digest()
    assert signed(padded(SHA256_INFO + digest)) == raw  # the forger's tools are sharp
    cases = {name: em for name, em in forgeries(digest).items() if int.from_bytes(em, "big") < n}
    assert len(cases) >= 213
    for name, em in cases.items():
        assert not verdict("RS256", signed(em)), name


@attack("J-16", "J-44")
@pytest.mark.parametrize("alg", ["RS256", "PS256"])
def test_rsa_signatures_outside_their_range(alg: str) -> None:
    message, raw = parts(alg)
    n = KEYS[alg]._private.public_key().public_numbers().n
    value = int.from_bytes(raw, "big")
    cases = [
        b"",
        b"\0",
        raw[1:],
        raw[:-1],
        b"\0" + raw,
        raw + b"\0",
        raw + raw,
        raw[::-1],
        b"\0" * 256,
        b"\0" * 255 + b"\1",
        b"\xff" * 256,
    ]
    cases += [number.to_bytes(257, "big") for number in (value + n, n, n + 1)]
    cases += [
        number.to_bytes(256, "big")
        for number in (n, n - 1, n - value, n // 2, value ^ 1)
        if number < 2**2048
    ]
    assert not any(verdict(alg, case) for case in cases)


@attack("J-16", "J-44")
def test_pss_has_one_salt_length_one_hash_one_mask() -> None:
    message, _ = parts("PS256")
    private = KEYS["PS256"]._private
    assert isinstance(private, rsa.RSAPrivateKey)
    sha = hashes.SHA256()
    assert verdict("PS256", private.sign(message, padding.PSS(padding.MGF1(sha), 32), sha))
    for salt in (0, 1, 20, 31, 33, 64, padding.PSS.MAX_LENGTH):
        assert not verdict(
            "PS256", private.sign(message, padding.PSS(padding.MGF1(sha), salt), sha)
        ), salt
    for mask, digest in (
        (hashes.SHA1(), sha),
        (hashes.SHA384(), sha),
        (sha, hashes.SHA384()),
        (sha, hashes.SHA1()),
        (hashes.SHA512(), hashes.SHA512()),
    ):
        assert not verdict(
            "PS256", private.sign(message, padding.PSS(padding.MGF1(mask), 32), digest)
        )
    assert not verdict("PS256", private.sign(message, padding.PKCS1v15(), sha))
    assert not verdict(
        "RS256",
        KEYS["RS256"]._private.sign(parts("RS256")[0], padding.PSS(padding.MGF1(sha), 32), sha),
    )


@attack("J-44")
def test_ed25519_signatures_have_one_form() -> None:
    _, raw = parts("Ed25519")
    point, scalar = raw[:32], int.from_bytes(raw[32:], "little")
    values = [
        scalar + L,
        scalar + 2 * L,
        scalar + 7 * L,
        0,
        1,
        L - 1,
        L,
        L + 1,
        L - scalar,
        scalar ^ 1,
        2**252,
        2**255,
        2**256 - 1,
    ]
    cases = [point + value.to_bytes(32, "little") for value in values if value < 2**256]
    cases += [
        b"",
        raw[:-1],
        raw + b"\0",
        raw[32:] + point,
        b"\0" * 64,
        b"\1" + b"\0" * 63,
        b"\xff" * 64,
        point + b"\0" * 32,
        b"\0" * 32 + raw[32:],
    ]
    cases += [
        raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :]
        for place in range(64)
        for bit in (0, 7)
    ]
    assert not any(verdict("Ed25519", case) for case in cases)


@attack("J-44")
@pytest.mark.parametrize("alg", sorted(KEYS))
def test_a_signature_of_another_key_or_message(alg: str) -> None:
    other = SigningKey(alg, alg, new_private_key(alg))
    message, raw = parts(alg)
    assert not verdict(alg, other.sign(message))
    for wrong in (
        b"",
        message[:-1],
        message + b"A",
        message + b".",
        message.replace(b".", b""),
        message.rpartition(b".")[2],
    ):
        assert not verdict(alg, KEYS[alg].sign(wrong))
    for name, (_, signature) in {name: parts(name) for name in KEYS if name != alg}.items():
        assert not verdict(alg, signature), name
