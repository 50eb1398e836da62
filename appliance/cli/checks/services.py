"""Checks of what the services serve: boot files, NFS, PCs that we have no agent for, notices."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance.cli import show
from appliance.cli.checks.finding import Finding, Level
from appliance.cli.context import Context
from appliance.errors import ApplianceError

# Files of the boot folder without which no PC gets to the agent.
BOOT_FILES = ("vmlinuz", "initrd.img", "undionly.kpxe", "snponly.efi", "shimx64.efi", "grubx64.efi")


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


def check_notices(context: Context) -> Iterator[Finding]:
    """Notices of failed tasks go where they are to go."""
    from appliance.services.notify import ways

    chosen = ways(context.settings.notify)
    try:
        troubles = context.store.notices.troubles()
        waiting = {way: context.store.notices.waiting(way) for way in chosen}
    except ApplianceError:
        return
    for way in chosen:
        words, remedy = troubles.get(way, ("", ""))
        if words and waiting[way]:
            number, since = show.count(len(waiting[way]), "notice"), show.moment(waiting[way][0].at)
            yield Finding(Level.WARNING, "notify", f"By {way}, {number} wait since {since}: {words}", remedy)
        elif words:
            yield Finding(Level.WARNING, "notify", f"Notices do not go by {way}: {words}", remedy)
        else:
            yield Finding(Level.OK, "notify", f"Notices of failed tasks and full disks go by {way}.")
