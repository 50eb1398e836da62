"""Which addresses to lend in a subnet: a proposal, and the check of what somebody typed. No input or output."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface

from appliance.errors import UsageError

_FIXED_SHARE = 4  # the first quarter of a subnet stays free for fixed addresses
_KEPT_AT_END = 4  # and a few at its end, where routers like to stand
_MOST = 4000  # addresses that are proposed in a huge subnet
_SMALLEST = 29  # prefix length of the smallest subnet worth a range


def proposal(own: IPv4Interface) -> tuple[IPv4Address, IPv4Address] | None:
    """First and last address to lend beside our `own`; None where the subnet has no room for a range."""
    network = own.network
    if network.prefixlen > _SMALLEST:
        return None
    low, high = int(network.network_address) + 1, int(network.broadcast_address) - 1
    size = network.num_addresses
    first = low + size // _FIXED_SHARE
    last = high - (_KEPT_AT_END if size >= 64 else 0)
    mine = int(own.ip)
    if first <= mine <= last:  # the larger part beside our own address
        first, last = (mine + 1, last) if last - mine >= mine - first else (first, mine - 1)
    return IPv4Address(first), IPv4Address(min(last, first + _MOST - 1))


def address(text: str) -> IPv4Address:
    """An address as somebody typed it. Raises `UsageError`."""
    try:
        return IPv4Address(text.strip())
    except ValueError:
        raise UsageError(f"'{text}' is no IPv4 address.", hint="Write it as 10.20.5.1.") from None


def addresses(text: str) -> list[IPv4Address]:
    """Several, with commas or blanks between them. Raises `UsageError`."""
    return [address(part) for part in text.replace(",", " ").split()]


def check(own: IPv4Interface, first: IPv4Address, last: IPv4Address, router: IPv4Address | None) -> None:
    """Raise `UsageError` when a range cannot be lent beside our own address and the router's."""
    network = own.network
    for item in (first, last, *([router] if router else [])):
        if item not in network:
            raise UsageError(f"{item} is not in the subnet {network}.", hint="Take one of its addresses.")
        if item in (network.network_address, network.broadcast_address):
            raise UsageError(f"{item} names the subnet {network} itself.", hint="Take an address between its ends.")
    if first > last:
        raise UsageError(f"The range begins at {first}, after its end {last}.", hint="Swap the two.")
    if first <= own.ip <= last:
        raise UsageError(
            f"{own.ip}, this box's own address, is inside the range.", hint="Begin after it, or end before."
        )
    if router is not None and first <= router <= last:
        raise UsageError(f"{router}, the router's address, is inside the range.", hint="Begin after it, or end before.")
