"""The checks of `diecast doctor`: each yields findings, none changes anything, none raises.

A check that needs something an earlier one has found missing says nothing of its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from appliance.cli import show
from appliance.cli.context import Context
from appliance.config import Settings
from appliance.errors import ApplianceError


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  # works, or may work, but somebody should look
    PROBLEM = "problem"  # something that was asked for cannot work


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer."""

    level: Level
    area: str
    text: str
    remedy: str = ""


Check = Callable[[Context], Iterable[Finding]]

# Files of the boot folder without which no PC gets to the agent.
BOOT_FILES = ("vmlinuz", "initrd.img", "undionly.kpxe", "snponly.efi", "shimx64.efi", "grubx64.efi")
_HEARD_LATELY = timedelta(days=1)
_LOW_SPACE = 0.1  # of a disk


def run_checks(context: Context, checks: Iterable[Check]) -> list[Finding]:
    """All findings in order. After a settings file that cannot be read there is nothing more to check."""
    findings = list(check_settings(context))
    if any(finding.level is Level.PROBLEM for finding in findings):
        return findings
    for check in checks:
        findings += check(context)
    return findings


def check_settings(context: Context) -> Iterator[Finding]:
    """The settings file can be read and makes sense."""
    try:
        settings = context.settings
    except ApplianceError as error:
        yield Finding(Level.PROBLEM, "settings", error.message, error.hint)
        return
    yield Finding(Level.OK, "settings", f"{context.config_path} is valid; DHCP mode is {settings.dhcp.mode}.")


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
        return ("the kernel", True) if service == "NFS" else ("a process that only root can name", False)
    try:
        process = psutil.Process(pid)
        name, words = process.name(), process.cmdline()
    except psutil.Error:
        return f"process {pid}", False
    ours = any(Path(word).name == "diecast" or word in {"appliance", "appliance.__main__"} for word in words[:4])
    return f"{name} (process {pid})", ours or (service == "NFS" and name == "ganesha.nfsd")


def check_boot_files(context: Context) -> Iterator[Finding]:
    """Loaders, kernel and initrd are there and are those that were built."""
    folder = context.settings.paths.boot
    try:
        catalog = json.loads((folder / "catalog.json").read_text(encoding="utf-8"))
        entries = {name: entry for name, entry in catalog.items() if isinstance(entry, dict)}
    except FileNotFoundError:
        yield Finding(
            Level.PROBLEM,
            "boot",
            f"There are no boot files: {folder / 'catalog.json'} is missing.",
            "Build them (make agent), or correct paths.boot.",
        )
        return
    except (OSError, ValueError, AttributeError) as error:
        yield Finding(Level.PROBLEM, "boot", f"{folder / 'catalog.json'} cannot be read: {error}.", "Run: make agent")
        return
    findings = [finding for name in BOOT_FILES if (finding := _boot_file(folder / name, entries.get(name)))]
    yield from findings
    if not findings:
        total = sum((folder / name).stat().st_size for name in BOOT_FILES)
        yield Finding(Level.OK, "boot", f"{folder}: all {len(BOOT_FILES)} boot files as built, {show.size(total)}.")


def _boot_file(path: Path, entry: dict[str, Any] | None) -> Finding | None:
    """What is wrong with one file; None when nothing is."""
    remedy = "Build the boot files again: make agent"
    if entry is None:
        return Finding(Level.PROBLEM, "boot", f"{path.name} is not in the catalogue.", remedy)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return Finding(Level.PROBLEM, "boot", f"{path} cannot be read: {error.strerror}.", remedy)
    wanted = str(entry.get("sha256", "")).lower()
    if digest == wanted:
        return None
    return Finding(
        Level.PROBLEM, "boot", f"{path} has SHA-256 {digest[:16]}..., its catalogue says {wanted[:16]}....", remedy
    )


def check_store(context: Context) -> Iterator[Finding]:
    """The store opens."""
    try:
        hosts, images = len(context.store.hosts.list()), len(context.store.images.versions())
        open_tasks = len(context.store.tasks.list(active_only=True))
    except ApplianceError as error:
        yield Finding(Level.PROBLEM, "store", error.message, error.hint)
        return
    contents = ", ".join(
        (show.count(hosts, "host"), show.count(images, "image version"), show.count(open_tasks, "open task"))
    )
    yield Finding(Level.OK, "store", f"{context.settings.paths.database} opens: {contents}.")


def check_space(context: Context) -> Iterator[Finding]:
    """The disks of images and store have room."""
    settings = context.settings
    reserve = settings.tasks.free_reserve_mb * 1_000_000
    for what, folder in (("images", settings.paths.images), ("store", settings.paths.state)):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        usage = shutil.disk_usage(there)
        text = f"The disk of the {what} ({folder}) has {show.size(usage.free)} free of {show.size(usage.total)}"
        if usage.free <= reserve:
            yield Finding(
                Level.PROBLEM,
                "space",
                f"{text}; captures leave {show.size(reserve)} free and will fail.",
                "Remove images (diecast image remove), or lower tasks.free_reserve_mb.",
            )
        elif usage.free < _LOW_SPACE * usage.total:
            yield Finding(Level.WARNING, "space", f"{text}.", "Remove images that nobody needs: diecast image remove")
        else:
            yield Finding(Level.OK, "space", f"{text}.")


def check_nfs(context: Context) -> Iterator[Finding]:
    """There is an NFS server for the chosen back end."""
    from appliance.services import nfs_ganesha, nfs_kernel

    wanted = context.settings.nfs.backend
    kernel, ganesha = nfs_kernel.is_there(), nfs_ganesha.is_there()
    if wanted in {"auto", "kernel"} and kernel:
        yield Finding(Level.OK, "nfs", "The kernel's NFS server is used.")
    elif wanted in {"auto", "ganesha"} and ganesha:
        yield Finding(
            Level.OK,
            "nfs",
            "NFS-Ganesha is used: this kernel has no NFS server." if wanted == "auto" else "NFS-Ganesha is used.",
        )
    else:
        what = {"kernel": "the kernel's NFS server", "ganesha": "NFS-Ganesha"}.get(wanted, "any NFS server")
        yield Finding(
            Level.PROBLEM,
            "nfs",
            f"nfs.backend is '{wanted}', but {what} is not installed.",
            "Install nfs-kernel-server, or nfs-ganesha and nfs-ganesha-vfs.",
        )


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


def check_architectures(context: Context) -> Iterator[Finding]:
    """PCs whose processor or firmware we have no agent for."""
    from appliance.boot.firmware import firmware_of

    try:
        sightings = context.store.hosts.sightings()
    except ApplianceError:
        return
    for sighting in sightings:
        if sighting.arch is None or firmware_of(sighting.arch).has_agent:
            continue
        who = sighting.host_name or sighting.mac
        label = firmware_of(sighting.arch).label
        yield Finding(
            Level.WARNING,
            "hosts",
            f"{who} asked to boot as {label} (architecture {sighting.arch}) at {show.moment(sighting.at)}:"
            " there is no agent for it, and it was offered no loader.",
            "If the PC can start as x64 UEFI or BIOS, choose that in its firmware's setup.",
        )


CHECKS: tuple[Check, ...] = (
    check_interfaces,
    check_ports,
    check_boot_files,
    check_nfs,
    check_store,
    check_space,
    check_other_servers,
    check_architectures,
)
