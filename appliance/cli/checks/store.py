"""Checks of settings, store and the room on their disks."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.cli import show
from appliance.cli.checks.finding import Finding, Level
from appliance.cli.context import Context
from appliance.errors import ApplianceError
from appliance.system import space


def check_settings(context: Context) -> Iterator[Finding]:
    """The settings file can be read and makes sense."""
    try:
        settings = context.settings
    except ApplianceError as error:
        yield Finding(Level.PROBLEM, "settings", error.message, error.hint)
        return
    yield Finding(Level.OK, "settings", f"{context.config_path} is valid; DHCP mode is {settings.dhcp.mode}.")


def check_store(context: Context) -> Iterator[Finding]:
    """The store opens."""
    try:
        hosts, images = len(context.store.hosts.list()), len(context.store.images.versions())
        open_tasks = len(context.store.tasks.list(active_only=True))
    except ApplianceError as error:
        yield Finding(Level.PROBLEM, "store", error.message, error.hint)
        return
    path = context.settings.paths.database
    text = f"{path} opens. Hosts: {hosts}; versions of images: {images}; open tasks: {open_tasks}."
    yield Finding(Level.OK, "store", text)


def check_database(context: Context) -> Iterator[Finding]:
    """SQLite finds nothing wrong inside the store's file. Reads all of it: a store is some megabytes."""
    path = context.settings.paths.database
    if context.unread is not None or not path.exists():
        return  # `check_store` says so
    try:
        problems = context.store.problems()
    except ApplianceError as error:
        yield Finding(Level.PROBLEM, "store", error.message, error.hint)
        return
    if problems:
        yield Finding(
            Level.PROBLEM,
            "store",
            f"{path} is damaged inside: {problems[0]}.",
            "Restore it from a backup (diecast backup restore); images are kept in files and are not lost.",
        )
    else:
        yield Finding(Level.OK, "store", f"{path} is whole: SQLite's quick check finds nothing.")


def check_space(context: Context) -> Iterator[Finding]:
    """The disks of images and store have room."""
    try:
        for found in space.spaces(context.settings):
            yield _space(found)
    except OSError as error:
        yield Finding(
            Level.PROBLEM, "space", f"The room on a disk cannot be measured: {error}.", "Check the disk: dmesg"
        )


def _space(found: space.Space) -> Finding:
    text = f"The disk of the {found.what} ({found.folder}) has {show.size(found.free)} free of {show.size(found.total)}"
    if found.state == space.FULL and found.what == "images":
        return Finding(
            Level.PROBLEM,
            "space",
            f"{text}; captures leave {show.size(found.reserve)} free and will fail.",
            "Remove images (diecast image remove), or lower tasks.free_reserve_mb.",
        )
    if found.state == space.FULL:
        return Finding(
            Level.PROBLEM,
            "space",
            f"{text}; below {show.size(found.reserve)} the store may soon take nothing more.",
            "Free space on the disk of paths.state.",
        )
    if found.state == space.LOW:
        return Finding(Level.WARNING, "space", f"{text}.", "Remove images that nobody needs: diecast image remove")
    return Finding(Level.OK, "space", f"{text}.")
