"""What the command line can do the console can: each command has a key somewhere, or a reason why not."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import pytest

from appliance.cli.command import Command
from appliance.cli.program import COMMANDS
from appliance.tui import keys
from appliance.tui.screens import table

# Command -> class of the console, and the meanings of keys there that do the same; none: the screen shows it.
_WHERE: dict[str, tuple[str, tuple[str, ...]]] = {
    "host add": ("screens.hosts:HostsPart", ("add",)),
    "host list": ("screens.hosts:HostsPart", ("show",)),
    "host show": ("screens.hosts:HostsPart", ("open",)),
    "host edit": ("screens.hosts:HostsPart", ("edit", "seal", "group")),
    "host remove": ("screens.hosts:HostsPart", ("remove",)),
    "host wake": ("screens.hosts:HostsPart", ("wake",)),
    "host export": ("screens.hosts:HostsPart", ("export",)),
    "host import": ("screens.hosts_files:ImportPage", ("start",)),
    "host dock": ("screens.network_leases:DocksPart", ("add", "remove")),
    "room list": ("screens.rooms:RoomsPart", ()),
    "room show": ("screens.rooms:RoomsPart", ("open",)),
    "room add": ("screens.rooms:RoomsPart", ("add",)),
    "room edit": ("screens.rooms:RoomsPart", ("edit",)),
    "room remove": ("screens.rooms:RoomsPart", ("remove",)),
    "room assign": ("screens.hosts:HostsPart", ("group",)),
    "image list": ("screens.images:ImagesScreen", ()),
    "image show": ("screens.images:ImagesScreen", ("open",)),
    "image verify": ("screens.images:ImagesScreen", ("verify",)),
    "image remove": ("screens.images:ImagesScreen", ("remove",)),
    "image edit": ("screens.images:ImagesScreen", ("edit",)),
    "image usage": ("screens.images:ImagesScreen", ()),
    "cast list": ("screens.casts:CastsScreen", ()),
    "cast show": ("screens.casts:CastsScreen", ("open",)),
    "cast watch": ("screens.casts:CastsScreen", ("show",)),
    "cast stop": ("screens.casts:CastsScreen", ("stop",)),
    "cast limit": ("screens.casts:CastsScreen", ("limit",)),
    "cast begin": ("screens.casts:CastsScreen", ("begin",)),
    "cast prefer": ("screens.casts:CastsScreen", ("prefer",)),
    "cast drop": ("screens.casts:CastsScreen", ("remove",)),
    "task list": ("screens.tasks:TasksScreen", ("show",)),
    "task show": ("screens.tasks:TaskPage", ("log", "history")),
    "task watch": ("screens.tasks:TasksScreen", ("watch",)),
    "task cancel": ("screens.tasks:TasksScreen", ("stop",)),
    "task retry": ("screens.tasks:TasksScreen", ("again",)),
    "task start": ("screens.tasks:TasksScreen", ("start",)),
    "task orders": ("jobs.new_pcs:Arrivals", ()),
    "task release": ("jobs.new_pcs:Arrivals", ()),
    "task dismiss": ("jobs.new_pcs:Arrivals", ("remove",)),
    "lease list": ("screens.network_leases:LeasesPart", ("show",)),
    "reservation list": ("screens.network_leases:ReservationsPart", ()),
    "reservation add": ("screens.network_leases:ReservationsPart", ("add",)),
    "reservation remove": ("screens.network_leases:ReservationsPart", ("remove",)),
    "box address show": ("screens.network_address:InterfacesPart", ()),
    "box address set": ("screens.network_address:InterfacesPart", ("edit",)),
    "box address keep": ("screens.network_address:InterfacesPart", ("open",)),
    "box address undo": ("screens.network_address:InterfacesPart", ("open",)),
    "box disk list": ("screens.system_disks:DisksPart", ("edit",)),
    "box disk take": ("screens.system_disks:DisksPart", ("edit",)),
    "doctor": ("screens.system_doctor:DoctorPart", ("verify",)),
    "backup run": ("screens.system_backups:BackupsPart", ("start",)),
    "backup list": ("screens.system_backups:BackupsPart", ("again",)),
    "backup verify": ("screens.system_backups:BackupsPart", ("verify",)),
    "backup schedule": ("screens.system_backups:BackupsPart", ("edit",)),
    "service list": ("screens.system_services:ServicesPart", ()),
    "service start": ("screens.system_services:ServicesPart", ("start",)),
    "service stop": ("screens.system_services:ServicesPart", ("stop",)),
    "service restart": ("screens.system_services:ServicesPart", ("again",)),
    "log": ("screens.logs:LogPart", ("follow",)),
    "setting list": ("screens.settings:SettingsPart", ()),
    "setting get": ("screens.settings:SettingsPart", ()),
    "setting set": ("screens.settings:SettingsPart", ("edit",)),
    "setting unset": ("screens.settings:SettingsPart", ("remove",)),
    "notify test": ("screens.settings:SettingsPart", ("start",)),
    "operator list": ("screens.operators:OperatorsPart", ()),
    "operator add": ("screens.operators:OperatorsPart", ("add",)),
    "operator remove": ("screens.operators:OperatorsPart", ("remove",)),
    "operator password": ("screens.operators:OperatorsPart", ("edit",)),
    "operator role": ("screens.operators:OperatorsPart", ("edit",)),
    "audit": ("screens.audit:AuditPart", ()),
}
# Command -> the key that does it everywhere.
_EVERYWHERE = {"capture": "capture", "deploy": "deploy", "operator language": "language"}
_NOT_AT_THE_CONSOLE = {
    "tui": "it is the console",
    "serve": "services outlive a console: systemd or whoever set up the box starts them",
    "operator check": "whoever is at the console has given a password; the shell on tty2 asks with it",
    "box address apply": "root's unit runs it",
    "box disk apply": "root's unit runs it",
    "backup restore": "it puts another store in the place of the one that the console has open; the part says so",
    "config": "it writes the file that comes before any store",
}


def _leaves(commands: tuple[Command, ...], before: str = "") -> Iterator[str]:
    for command in commands:
        name = f"{before}{command.name}"
        if command.parts:
            yield from _leaves(command.parts, f"{name} ")
        else:
            yield name


def test_every_command_has_its_place_or_a_reason() -> None:
    known = {*_WHERE, *_EVERYWHERE, *_NOT_AT_THE_CONSOLE}
    assert set(_leaves(COMMANDS)) == known


@pytest.mark.parametrize("command", list(_WHERE))
def test_the_place_of_a_command_has_its_keys(command: str) -> None:
    path, meanings = _WHERE[command]
    module, _, name = path.partition(":")
    there = getattr(import_module(f"appliance.tui.{module}"), name)
    assert set(meanings) <= {key.name for key in there.KEYS}
    own = set(meanings) - {"open", "show"}  # these the list and the screen around the part do
    assert [meaning for meaning in own if not callable(getattr(there, f"do_{meaning}", None))] == []


@pytest.mark.parametrize("command", list(_EVERYWHERE))
def test_what_works_everywhere_is_in_the_table_of_keys(command: str) -> None:
    assert _EVERYWHERE[command] in {key.name for key in keys.GLOBAL}
    jobs = {job.name for job in table.JOBS}
    assert command not in {"capture", "deploy"} or command in jobs
