"""Requests that this server makes itself: only to where it may, whatever an address resolves to.

The name is resolved once; every address must be public or in a network that the settings allow; the
connection is made to the address that was looked at, so that a second look-up cannot answer
otherwise (DNS rebinding). Redirects are not followed and the environment's proxies are not used.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

import httpx

from app.settings import Network

TIMEOUT_S = 10.0
"""From the connection to the answer; looking the name up has the system's own limit."""
LONGEST_URL = 2000
_NAT64 = IPv6Network("64:ff9b::/96")
Address = IPv4Address | IPv6Address


class EgressError(Exception):
    """The address may not be asked, or did not take what was sent."""

    def __init__(self, message: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


def check_url(url: str, allowed: Sequence[Network]) -> None:
    """Raise EgressError for what can be seen to be wrong without resolving the name."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise EgressError(f"not an address: {error}") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise EgressError("must start with https:// or http://, with a host")
    if parts.username is not None or parts.password is not None:
        raise EgressError("must not hold a name or password")
    if (
        port == 0
        or len(url) > LONGEST_URL
        or not url.isascii()
        or not url.isprintable()
        or " " in url
    ):
        raise EgressError("must be a plain address of at most 2000 characters")
    try:
        literal = ip_address(host)
    except ValueError:
        return
    _require_allowed(literal, allowed)


def post(url: str, content: bytes, headers: Mapping[str, str], allowed: Sequence[Network]) -> int:
    """Send `content`; returns the status, 200 to 299. Raises EgressError for anything else."""
    check_url(url, allowed)
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = resolve(host, port, allowed)
    literal = f"[{address}]" if address.version == 6 else str(address)
    pinned = httpx.URL(url).copy_with(host=literal, port=port)
    # The certificate must be that of the name, not of the address.
    request = httpx.Request(
        "POST",
        pinned,
        content=content,
        headers={**headers, "Host": parts.netloc},
        extensions={"sni_hostname": host},
    )
    try:
        answer = asyncio.run(_send(request))
    except TimeoutError as error:
        raise EgressError(f"no answer within {TIMEOUT_S:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise EgressError(f"{type(error).__name__}: {error}") from error
    if not 200 <= answer.status_code < 300:
        told = "redirects are not followed" if answer.is_redirect else "the receiver refused it"
        raise EgressError(f"HTTP {answer.status_code}: {told}", answer.status_code)
    return answer.status_code


async def _send(request: httpx.Request) -> httpx.Response:
    """Asynchronous for the sake of the limit, which is one for all of it: those of httpx begin
    again with each byte that a receiver lets drip."""
    async with (
        asyncio.timeout(TIMEOUT_S),
        httpx.AsyncClient(trust_env=False, follow_redirects=False) as client,
    ):
        # The answer's body is nobody's business: it is not read.
        answer = await client.send(request, stream=True)
        await answer.aclose()
    return answer


def resolve(host: str, port: int, allowed: Sequence[Network]) -> Address:
    """The first address of a name, all of whose addresses may be asked. Raises EgressError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise EgressError(f"{host} cannot be resolved: {error}") from error
    addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    for address in addresses:
        _require_allowed(address, allowed)
    return addresses[0]


def _require_allowed(address: Address, allowed: Sequence[Network]) -> None:
    for one in _meant(address):
        is_public = one.is_global and not one.is_multicast
        if not is_public and not any(one in network for network in allowed):
            raise EgressError(
                f"{one} is not a public address; an administrator can allow its network with "
                "GOGOOKU3_WEBHOOK_NETWORKS"
            )


def _meant(address: Address) -> list[Address]:
    """The address, or those that are written inside it: of IPv4 behind a translator or tunnel."""
    if isinstance(address, IPv4Address):
        return [address]
    if address in _NAT64:
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    inside = address.ipv4_mapped or address.sixtofour
    if inside is not None:
        return [inside]
    return [address, *(address.teredo or ())]
