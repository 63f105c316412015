"""Whose request is it: the client's address behind proxies, and the key it is counted by.

Anybody can write a forwarding header, so each entry is worth exactly as much as the
hop that added it. Reading therefore starts at the socket, which cannot lie, and goes
leftwards only as long as the speaker is a proxy that was named as trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)

from watchword.errors import ConfigError

_MOST_HOPS = 32
_MAPPED = IPv6Network("::ffff:0:0/96")
_TOP_PORT = 65_535
_LONGEST = 45  # characters of an address: IPv6 with an IPv4 tail


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The hops whose word about the previous hop is taken.

    Args:
        networks: where trusted proxies connect from.
        unix: whether a peer on a Unix socket is one.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix: bool = False

    @classmethod
    def parse(cls, entries: Sequence[str]) -> TrustedProxies:
        """Read a setting: networks, addresses, or `unix` for a Unix socket.

        Raises:
            ConfigError: an entry is none of these, or together they trust everybody.
        """
        named = [entry.strip() for entry in entries]
        networks = [_network(entry) for entry in named if entry != "unix"]
        # Collapsed, so that two halves of the internet are seen to be all of it.
        four = list(collapse_addresses(it for it in networks if isinstance(it, IPv4Network)))
        six = list(collapse_addresses(it for it in networks if isinstance(it, IPv6Network)))
        trusted: list[IPv4Network | IPv6Network] = [*four, *six]
        if any(network.prefixlen == 0 for network in trusted):
            raise _everybody(", ".join(named))
        return cls(tuple(trusted), unix="unix" in named)

    def client_ip(
        self,
        peer: str | None,
        headers: Sequence[tuple[bytes, bytes]],
        header: str = "x-forwarded-for",
    ) -> str:
        """The address of the client that a request comes from.

        Args:
            peer: the socket's peer; None or empty for a Unix socket.
            headers: the request's headers as ASGI gives them.
            header: the one header that the trusted proxies write.

        Returns:
            The first untrusted hop from the right; the peer where the header is
            missing, malformed, too long, or names trusted hops only; `unknown` where
            there is no peer either.
        """
        socket = _address(peer) if peer else None
        fallback = str(socket) if socket else peer or "unknown"
        if not (self._trusts(socket) if peer else self.unix):
            return fallback
        wanted = header.lower().encode("latin-1")
        # RFC 9110 section 5.3: several lines are one list, in their order.
        value = b",".join(line for name, line in headers if name.lower() == wanted)
        if value.count(b",") >= _MOST_HOPS:
            return fallback
        for entry in reversed(value.decode("latin-1").split(",")):
            hop = _hop(entry.strip(" \t"))
            if hop is None:
                return fallback
            if not self._trusts(hop):
                return str(hop)
        return fallback

    def _trusts(self, address: IPv4Address | IPv6Address | None) -> bool:
        return address is not None and any(address in network for network in self.networks)


def address_key(ip: str) -> str:
    """What one client's address is counted by: an IPv4 address, or an IPv6 /64.

    A /64 is the least that one subscriber gets (RFC 6177), so its addresses are one client.

    Returns:
        Canonical text; `unknown` for what is not an address.
    """
    return _key(ip, 64)


def wide_key(ip: str) -> str:
    """What one site's address is counted by: an IPv4 address, or an IPv6 /48."""
    return _key(ip, 48)


def _key(ip: str, prefix: int) -> str:
    address = _address(ip)
    if isinstance(address, IPv6Address):
        rest = 128 - prefix
        return f"{IPv6Address(int(address) >> rest << rest)}/{prefix}"
    return str(address) if address else "unknown"


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address without its zone id; IPv4 written as IPv6 is IPv4."""
    bare, zone, _ = text.partition("%")
    address = _parsed(bare) if len(bare) <= _LONGEST else None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return None if zone else address


@lru_cache(maxsize=1024)  # each request asks for the same few addresses several times
def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _hop(entry: str) -> IPv4Address | IPv6Address | None:
    """An entry of the header: an address, an IPv4 address with a port, or `[IPv6]:port`."""
    if entry.startswith("["):
        host, closed, port = entry[1:].partition("]")
        if not closed or ":" not in host or (port and not _is_port(port)):
            return None
        return _address(host)
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return _address(host) if _is_port(f":{port}") else None
    return _address(entry)


def _is_port(text: str) -> bool:
    digits = text[1:]
    return (
        text[0] == ":"
        and digits.isascii()
        and digits.isdigit()
        and len(digits) <= len(str(_TOP_PORT))
        and int(digits) <= _TOP_PORT
    )


def _network(entry: str) -> IPv4Network | IPv6Network:
    if entry == "*":
        raise _everybody(entry)
    try:
        network = ip_network(entry)
    except ValueError as problem:
        raise ConfigError(
            f"TRUSTED_PROXIES has {entry!r}, which is neither a network nor an address",
            why=str(problem),
            fix="name each proxy as 10.0.0.7, 10.0.0.0/24 or fd00::/64, or write unix",
        ) from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        # Peers are compared after unwrapping, so networks must be unwrapped as well.
        start = IPv4Address(int(network.network_address) & 0xFFFF_FFFF)
        return IPv4Network((start, network.prefixlen - 96))
    return network


def _everybody(entries: str) -> ConfigError:
    return ConfigError(
        f"TRUSTED_PROXIES trusts everybody ({entries})",
        why="any client could then choose the address it is limited and logged by",
        fix="name the addresses or networks your proxies connect from",
    )
