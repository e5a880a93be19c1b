"""Names and addresses that a server goes by."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit


def is_address(host: str) -> bool:
    """Whether ``host`` is a bare IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to ``host``."""
    return host.lower() == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_own_name(header: str, names: Collection[str]) -> bool:
    """Whether a Host header is a bare address or one of ``names``, whatever its port.

    A page of another site can make its name point to this machine (DNS rebinding) and would then count as the server's
    own origin; its Host header still carries that name. A bare address cannot be rebound.
    """
    try:
        host = (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return False
    return host in names or is_address(host)
