"""Checks of the network: interfaces, ports, other DHCP servers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from appliance.cli import show
from appliance.cli.checks.finding import Finding, Level
from appliance.cli.context import Context
from appliance.config import Settings
from appliance.errors import ApplianceError

_HEARD_LATELY = timedelta(days=1)


def check_interfaces(context: Context) -> Iterator[Finding]:
    """The chosen interfaces exist and have addresses that fit the subnets."""
    from appliance.cli import interfaces

    settings = context.settings
    if not settings.network.interfaces:
        known = ", ".join(name for name in interfaces.names() if name != "lo")
        yield Finding(
            Level.PROBLEM,
            "network",
            "No interface is chosen: nothing will be answered.",
            f"Set network.interfaces in {context.config_path}; there are: {known or 'none'}.",
        )
    for name in settings.network.interfaces:
        yield _interface(settings, name, interfaces.addresses(name))


def _interface(settings: Settings, name: str, addresses: list[Any] | None) -> Finding:
    if addresses is None:
        return Finding(
            Level.PROBLEM, "network", f"There is no interface {name}.", "Correct network.interfaces; see: ip link"
        )
    if not addresses:
        return Finding(
            Level.PROBLEM,
            "network",
            f"Interface {name} has no IPv4 address.",
            f"Give it a fixed one, for example: ip addr add 10.20.4.1/22 brd + dev {name}",
        )
    own = ", ".join(map(str, addresses))
    networks = [subnet.network for subnet in settings.dhcp.subnet]
    served = [a for a in addresses if any(a.ip in network for network in networks)]
    if settings.dhcp.mode == "full" and not served:
        return Finding(
            Level.WARNING,
            "network",
            f"Interface {name} ({own}) is in none of the subnets of the settings: only relays are served there.",
            "Add a [[dhcp.subnet]] that contains its address.",
        )
    return Finding(Level.OK, "network", f"Interface {name} has {own}.")


# Which unit has the port of what the doctor names.
_UNITS = {
    "DHCP": "diecast-dhcp.service",
    "PXE boot server": "diecast-dhcp.service",
    "TFTP": "diecast-tftp.service",
    "HTTP": "diecast-http.service",
    "Cast": "diecast-cast.service",
}


def check_ports(context: Context) -> Iterator[Finding]:
    """The ports of the services are free, or ours."""
    import psutil

    try:
        sockets = psutil.net_connections("inet")
    except psutil.Error as error:
        yield Finding(Level.WARNING, "ports", f"The sockets in use cannot be listed: {error}.", "Run as root.")
        return
    for service, protocol, port in _ports(context.settings):
        users = {s.pid for s in sockets if _listens(s, protocol, port)}
        yield _port(service, protocol, port, users)


def _ports(settings: Settings) -> Iterator[tuple[str, str, int]]:
    if settings.dhcp.mode != "off":
        yield "DHCP", "UDP", settings.dhcp.port
    if settings.dhcp.mode == "proxy":
        yield "PXE boot server", "UDP", settings.dhcp.proxy_port
    yield "TFTP", "UDP", settings.tftp.port
    yield "HTTP", "TCP", settings.http.port
    yield "NFS", "TCP", settings.nfs.port
    yield "Cast", "UDP", settings.cast.feedback_port


def _listens(sock: Any, protocol: str, port: int) -> bool:
    if not sock.laddr or sock.laddr.port != port:
        return False
    kind = "TCP" if sock.type == 1 else "UDP"  # SOCK_STREAM
    return kind == protocol and (protocol == "UDP" or sock.status == "LISTEN")


def _port(service: str, protocol: str, port: int, users: set[int | None]) -> Finding:
    what = f"{service} ({protocol} port {port})"
    if not users:
        return Finding(Level.OK, "ports", f"{what}: free; the service does not run.")
    ours: list[str] = []
    others: list[str] = []
    for pid in sorted(users, key=lambda pid: pid or 0):
        name, is_ours = _process(pid, service)
        (ours if is_ours else others).append(name)
    if others:
        return Finding(
            Level.PROBLEM,
            "ports",
            f"{what} is taken by {', '.join(others)}.",
            f"Stop that program; see: ss -lnp 'sport = :{port}'",
        )
    return Finding(Level.OK, "ports", f"{what}: served by {', '.join(ours)}.")


def _process(pid: int | None, service: str) -> tuple[str, bool]:
    """A process in words, and whether it is Diecast's."""
    import psutil

    if pid is None:  # the kernel's own NFS server, or somebody else's process that we may not see
        if service == "NFS":
            return "the kernel", True
        unit = _UNITS.get(service, "")
        if unit and _runs(unit):
            return unit, True
        return "a process that only root can name", False
    try:
        process = psutil.Process(pid)
        name, words = process.name(), process.cmdline()
    except psutil.Error:
        return f"process {pid}", False
    ours = any(Path(word).name == "diecast" or word in {"appliance", "appliance.__main__"} for word in words[:4])
    return f"{name} (process {pid})", ours or (service == "NFS" and name == "ganesha.nfsd")


def _runs(unit: str) -> bool:
    """Whether systemd runs a unit of ours: the console may ask, though it sees none of their processes."""
    from appliance.system import units

    try:
        return units.systemd_runs() and units.is_active(unit)
    except ApplianceError:
        return False


def check_other_servers(context: Context) -> Iterator[Finding]:
    """Other DHCP servers on our networks, as the DHCP service heard them."""
    mode = context.settings.dhcp.mode
    try:
        heard = [s for s in context.store.servers.list() if datetime.now(UTC) - s.at < _HEARD_LATELY]
    except ApplianceError:
        return
    for server in heard:
        text = f"Another DHCP server, {server.ip}, answered on {server.interface} at {show.moment(server.at)}"
        if mode == "full":
            yield Finding(
                Level.WARNING,
                "dhcp",
                f"{text}: PCs may get their address from either.",
                "Switch it off, or set dhcp.mode = 'proxy'.",
            )
        else:
            yield Finding(Level.OK, "dhcp", f"{text}, as mode '{mode}' expects.")
    if not heard and mode == "proxy":
        yield Finding(
            Level.WARNING,
            "dhcp",
            "dhcp.mode is 'proxy', but no other DHCP server was heard in the last day: PCs will get no address.",
            "Start the DHCP service, which looks for servers; or set dhcp.mode = 'full'.",
        )
    elif not heard:
        yield Finding(Level.OK, "dhcp", "No other DHCP server was heard in the last day.")


def check_listening(context: Context, name: str) -> Iterator[Finding]:
    """Ask on one interface which other DHCP servers are there; whoever answers is put on record."""
    import asyncio

    from appliance.services.dhcp_probe import OtherServer, ServerProbe
    from appliance.services.dhcpd import choose_links
    from appliance.services.netlink import interfaces

    settings = context.settings
    only = dataclasses.replace(settings, network=dataclasses.replace(settings.network, interfaces=(name,)))

    async def look() -> list[OtherServer]:
        return await ServerProbe(choose_links(only, await interfaces()), server_port=settings.dhcp.port).look()

    try:
        heard = asyncio.run(look())
        for server in heard:
            context.store.servers.heard(str(server.address), server.interface, server.detail)
    except ApplianceError as error:
        yield Finding(Level.PROBLEM, "dhcp", error.message, error.hint)
        return
    for server in heard:
        kind = "DHCP server" if server.lends else "proxyDHCP server"
        text = f"A {kind}, {server.address}, answers on {name}: {server.detail}."
        yield Finding(Level.WARNING, "dhcp", text, "Switch it off, or set dhcp.mode = 'proxy'." if server.lends else "")
    if not heard:
        yield Finding(Level.OK, "dhcp", f"No other DHCP server answers on {name}.")
