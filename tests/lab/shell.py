"""`make lab`: the operator's console on the virtual lab, a menu of its PCs, and a shell, side by side (`session`).

The shell powers PCs on, watches them, and gives the box its commands: lines that are no command of the lab go to
`diecast`, as `host list` or `capture master --image debian`. It is the process that owns the lab.
"""

from __future__ import annotations

import cmd
import contextlib
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.lab import session
from tests.lab.box import BOOT_FILES, Box
from tests.lab.boxview import CliFailed
from tests.lab.command import LabError
from tests.lab.console import plain
from tests.lab.desk import Desk, made_of
from tests.lab.disks import RECIPES, master
from tests.lab.gptdisk import copy_disk
from tests.lab.network import LabNetwork
from tests.lab.pc import BUSES, FIRMWARES, Hardware, Pc

FOLDER = session.FOLDER

# The PCs that are there from the start; `new` makes more.
_PCS: dict[str, tuple[Hardware, str]] = {
    "master": (Hardware(firmware="uefi-sb", bus="virtio"), "debian"),
    "windows": (Hardware(firmware="uefi-sb", bus="sata"), "windows"),
    "secure-pc": (Hardware(firmware="uefi-sb", bus="nvme", disk_mib=2560, cpus=1), ""),
    "uefi-pc": (Hardware(firmware="uefi", bus="virtio", disk_mib=2560, cpus=1), ""),
    "bios-pc": (Hardware(firmware="bios", bus="sata", disk_mib=3072, cpus=1), ""),
}


class LabShell(cmd.Cmd):
    """The commands of the lab."""

    prompt = "lab> "
    intro = "The virtual lab. 'help' lists its commands; anything else goes to diecast, such as 'host list'."

    def __init__(self, lab: LabNetwork, box: Box, folder: Path) -> None:
        super().__init__()
        self.lab = lab
        self.box = box
        self.folder = folder
        self.pcs: dict[str, Pc] = {}

    def add(self, name: str, hardware: Hardware, disk_of: str = "") -> Pc:
        """Make a PC, with a copy of a master disk or an empty one."""
        disk = None
        if disk_of:
            disk = self.folder / f"{name}.img"
            copy_disk(master(disk_of, say=print), disk)
            disk.chmod(0o644)
        self.pcs[name] = Pc(self.lab, name, self.folder, hardware, disk=disk)
        return self.pcs[name]

    def do_pcs(self, _: str) -> None:
        """pcs: the PCs of the lab, what they are made of, and whether they are on."""
        for name, pc in self.pcs.items():
            print(f"{name:12} {made_of(pc)} {pc.mac}  {'on' if pc.is_on else 'off'}")

    def do_new(self, line: str) -> None:
        """new NAME FIRMWARE BUS [MIB [DISK]]: one more PC. FIRMWARE: bios uefi uefi-sb. DISK: debian windows."""
        words = line.split()
        if (
            len(words) < 3
            or words[1] not in FIRMWARES
            or words[2] not in BUSES
            or words[4:5] not in ([], *([n] for n in RECIPES))
        ):
            print(self.do_new.__doc__)
            return
        mib = int(words[3]) if words[3:] and words[3].isdigit() else 2048
        print(self.add(words[0], Hardware(firmware=words[1], bus=words[2], disk_mib=mib), "".join(words[4:5])))

    def do_on(self, line: str) -> None:
        """on NAME [network|http|disk]: press the button; what its firmware tries first."""
        words = line.split()
        first = words[1] if words[1:] else "network"
        self._with(words[:1], lambda pc: pc.power_on(first=first))

    def do_off(self, line: str) -> None:
        """off NAME: pull the plug."""
        self._with(line.split()[:1], lambda pc: pc.power_off())

    def do_watch(self, line: str) -> None:
        """watch NAME: show its serial line until Ctrl-C."""
        self._with(line.split()[:1], _watch)

    def do_screen(self, line: str) -> None:
        """screen NAME: what a BIOS PC shows in text mode; of others a picture is saved."""
        self._with(line.split()[:1], _screen)

    def do_type(self, line: str) -> None:
        """type NAME TEXT: type a line on its serial line."""
        name, _, text = line.partition(" ")
        self._with([name], lambda pc: pc.types(text + "\r"))

    def do_press(self, line: str) -> None:
        """press NAME KEY...: press keys on its keyboard: ret, down, esc, a ..."""
        words = line.split()
        self._with(words[:1], lambda pc: pc.presses(*words[1:]))

    def do_cable(self, line: str) -> None:
        """cable NAME out|in: pull or plug its network cable."""
        words = line.split()
        pull = words[1:] == ["out"]
        self._with(words[:1], lambda pc: pc.pull_cable() if pull else pc.plug_cable())

    def do_console(self, _: str) -> None:
        """console: the end of the services' log."""
        print(self.box.last_log_lines(40))

    def do_kill9(self, _: str) -> None:
        """kill9: kill the services without a warning, then start them again."""
        self.box.kill9()
        self.box.start()

    def do_quit(self, _: str) -> bool:
        """quit: switch everything off and remove the lab."""
        return True

    do_EOF = do_quit

    def emptyline(self) -> bool:
        """An empty line does nothing."""
        return False

    def default(self, line: str) -> None:
        """Everything else is a command of the box."""
        try:
            words = shlex.split(line)
            print(self.box.cli(*(words[1:] if words[:1] == ["diecast"] else words), timeout_s=600), end="")
        except (CliFailed, ValueError) as error:
            print(error)

    def onecmd(self, line: str) -> bool:
        """Run one line; what goes wrong in the lab is said, and the shell goes on."""
        try:
            return super().onecmd(line)
        except LabError as error:
            print(error)
        except KeyboardInterrupt:
            print()
        return False

    def _with(self, names: list[str], action: Callable[[Pc], None]) -> None:
        if names and names[0] in self.pcs:
            action(self.pcs[names[0]])
        else:
            print(f"Which PC? {', '.join(self.pcs)}")


def _watch(pc: Pc) -> None:
    """Copy the serial log to the terminal as it grows."""
    shown = 0
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            raw = pc.console.path.read_bytes() if pc.console.path.exists() else b""
            print(plain(raw[shown:]), end="", flush=True)
            shown = len(raw)
            if not pc.is_on:
                print(f"\n{pc.name} is off.")
                return
            time.sleep(0.3)
    print()


def _screen(pc: Pc) -> None:
    print(pc.screen_text() if pc.hardware.firmware == "bios" else f"Saved {pc.screendump()}")


def run() -> int:
    """The lab, until its shell is left. Within tmux it opens the console and the menu beside the shell."""
    with LabNetwork() as lab:
        box = Box(lab, FOLDER)
        shell = LabShell(lab, box, FOLDER)
        desk = None
        try:
            for name, (hardware, disk_of) in _PCS.items():
                shell.add(name, hardware, disk_of)
            box.start()
            if session.inside():
                desk = Desk(session.DESK, shell.pcs)
                session.open_windows(box.command("tui"))
            shell.do_pcs("")
            shell.cmdloop()
        except LabError as error:
            print(error, file=sys.stderr)
            session.hold()
            return 1
        finally:
            if desk is not None:
                desk.close()
            for pc in shell.pcs.values():
                pc.destroy()
            box.destroy()
    return 0


def main() -> int:
    """Open the lab: in tmux with the console in front, or as a shell where that cannot be."""
    if not (BOOT_FILES / "initrd.img").exists():
        print(f"{BOOT_FILES} has no initrd.img: run 'make agent' first.", file=sys.stderr)
        return 1
    if not session.inside():
        lacks = session.lacks()
        if not lacks:
            return session.show([sys.executable, "-m", "tests.lab.shell"])
        print(f"The lab opens as a shell only: {lacks}")
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(1))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with session.only_one() as alone:
        if not alone:
            print("The lab is open already, in another session of this machine.", file=sys.stderr)
            session.hold()
            return 1
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        status = run()
    session.end()
    return status


if __name__ == "__main__":
    sys.exit(main())
