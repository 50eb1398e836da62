"""The appliance's life in one lab: from an image on a disk to a room that was cast to while everything was killed.

One run shows all of it, in an order that saves time; each step notes in the report what it found. Machines: the box, a
master, two PCs, and a station of the lab from which ports are scanned and SSH comes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from tests.appliance import firststart, guard, inside, operating, scan
from tests.appliance.box import ApplianceBox
from tests.appliance.machine import Machine, image, new_key
from tests.appliance.ssh import Way
from tests.lab import mainjob
from tests.lab.command import LabError
from tests.lab.disks import master
from tests.lab.gptdisk import copy_disk
from tests.lab.network import LabNetwork
from tests.lab.pc import Hardware, Pc
from tests.lab.progress import Watcher

BOX = IPv4Interface("10.20.0.1/24")
STATION = "10.20.0.250/24"
ADMIN, VIEWER = "marie", "paul"
PASSWORD = "correct-horse-7"
IMAGE = "room"
PCS = ("pc-1", "pc-2")
LATE_S = 5
PC = Hardware(firmware="bios", bus="virtio", disk_mib=256, memory_mib=1024, cpus=1)

FIRST_BOOT_S = 240  # from the button to the first start: the data partition is made in it
BOOT_S = 240
SLOW_MBIT_S = 3  # of casts, so that killing every service and restarting the box fall into one
FAST_MBIT_S = 80
_FETCH = "python3 -c \"import urllib.request as u; print(u.urlopen('{}').status)\""
_LINK_MBIT_S = 4  # of each PC: what it fetches by NFS while the cast is silent is as slow


@dataclass(slots=True)
class Report(mainjob.Report):
    """What the appliance showed, beside what any main job shows."""

    image_mb: float = 0.0
    ready_s: float = 0.0  # from the button to services ready, BIOS, a box that is set up
    restart_s: float = 0.0  # from the order to restart to services ready, during a cast
    kills: dict[str, float] = field(default_factory=dict)  # service -> seconds until it was back
    secure_boot: dict[str, Any] = field(default_factory=dict)
    unit_scores: dict[str, float] = field(default_factory=dict)
    open_ports: dict[str, Any] = field(default_factory=dict)
    ways_out: dict[str, list[str]] = field(default_factory=dict)  # what was tried -> what succeeded
    security_table: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The report file: what the demo's has, and what is the appliance's own."""
        return mainjob.Report.to_dict(self) | {
            "image_mb": self.image_mb,
            "ready_s": round(self.ready_s, 1),
            "restart_s": round(self.restart_s, 1),
            "kills": {name: round(seconds, 1) for name, seconds in self.kills.items()},
            "secure_boot": self.secure_boot,
            "unit_scores": self.unit_scores,
            "open_ports": self.open_ports,
            "ways_out": self.ways_out,
        }


class Story(mainjob.MainJob):
    """One run. Orders are keys: the capture's at the box's own screen, the cast's in a console over SSH."""

    def __init__(self, lab: LabNetwork, machine: Machine, folder: Path, key: Path, say: Callable[[str], None]) -> None:
        self.root = Way(lab.box, str(BOX.ip), "root", key=key)
        self.appliance = ApplianceBox(self.root, folder)
        super().__init__(lab, self.appliance, folder, say=say)
        self.machine = machine
        self.report: Report = Report()
        self.say = say

    def chapter(self, name: str, tell: Callable[[], object]) -> None:
        """Tell a part that nothing after it needs: what breaks it off is a fault, and the story goes on."""
        try:
            tell()
        except (LabError, AssertionError) as error:
            self.fault(f"{name} broke off: {error}")

    # The box

    def first_start(self) -> None:
        """Switch the box on for the first time and set it up by keys."""
        self.report.image_mb = inside.image_mb(image())
        self.say("the box is switched on for the first time")
        self.machine.power_on()
        firststart.run(self.machine.tty, BOX, ADMIN, PASSWORD, self.say, boot_s=FIRST_BOOT_S)
        self.root.waits_until_there(60)

    def restart_alone(self) -> None:
        """Switch the set-up box off properly and on again with nothing beside it: the time that it takes."""
        with suppress(LabError):
            self.root.run("systemctl poweroff", ok=(0, 255))
        self.appliance.hang_up()
        self.machine.waits_until_off(90)
        self.machine.power_on()
        inside.waits_until_ready(self.lab.box, str(BOX.ip), BOOT_S)
        self.report.ready_s = time.monotonic() - self.machine.on_since
        self.say(f"services are ready {self.report.ready_s:.0f} s after the button")
        self.root.waits_until_there(60)
        operating.sign_in(self.machine.tty, ADMIN, PASSWORD, timeout_s=90)

    # What a main job orders, by keys

    def register(self, pc: Pc) -> None:
        """Fill in the form of a host at the box's screen."""
        self.say(f"keys at the box: a host, {pc.name}")
        operating.add_host(self.machine.tty, pc.name, pc.mac)

    def order_capture(self, name: str, image: str, *options: str) -> None:
        """Order the capture at the box's screen."""
        self.say(f"keys at the box: capture {name} into {image}")
        operating.order_capture(self.machine.tty, 1, name, image)
        self.appliance.forget()

    def order_cast(self, image: str, names: Sequence[str]) -> None:
        """Order the cast in a console over SSH."""
        self.say(f"keys over SSH: cast {image} onto {', '.join(names)}")
        way = Way(self.lab.box, str(BOX.ip), ADMIN)
        with guard.opens_console(way) as terminal:
            guard.log_in(terminal, PASSWORD)
            operating.sign_in(terminal, ADMIN, PASSWORD)
            operating.order_cast(terminal, image, range(1, 1 + len(names)))
        way.close()
        self.appliance.forget()

    def during_cast(self, watcher: Watcher, tasks: dict[int, Pc]) -> None:
        """Kill each service in turn while the PCs are written, then restart the box."""
        for pc in tasks.values():
            pc.slow_down(_LINK_MBIT_S)

        def all_there() -> bool:
            return any(cast.present == len(tasks) and cast.sent_bytes for cast, _, _ in self.box.casts().values())

        if not watcher.until(all_there, mainjob.BOOT_S):
            self.fault("The PCs did not meet in the cast")
        for name in inside.SERVICES:
            self._still_running(tasks, f"{name} is killed")
            self.report.kills[name] = inside.kill(self.root, name)
            self.say(f"killed {name}; it was back after {self.report.kills[name]:.1f} s")
            watcher.look()
        self._still_running(tasks, "the box is restarted")
        self.box.cli("setting", "set", "cast.rate_mbit", str(FAST_MBIT_S))
        self.say("the box is restarted")
        began = time.monotonic()
        with suppress(LabError):
            self.root.run("systemctl reboot", ok=(0, 255))
        self.appliance.hang_up()
        inside.waits_until_gone(self.lab.box, str(BOX.ip), 60)
        inside.waits_until_ready(self.lab.box, str(BOX.ip), BOOT_S)
        self.report.restart_s = time.monotonic() - began
        self.say(f"its services are ready again after {self.report.restart_s:.0f} s")
        self._still_running(tasks, "the box is back")
        for pc in tasks.values():
            pc.slow_down(FAST_MBIT_S)

    def _still_running(self, tasks: dict[int, Pc], moment: str) -> None:
        """All PCs must be in the middle of their work at this moment, or it shows nothing."""
        self.appliance.forget()
        for number, pc in tasks.items():
            task = self.box.task(number)
            if task.state.is_final or not pc.is_on:
                self.fault(f"{pc.name}: its deployment was over when {moment}: {task.state} {task.error}")

    # What others can do

    def look_at_ports(self) -> None:
        """Scan the box from the lab's side; note what is open."""
        station, address = self.lab.box, str(BOX.ip)
        self.say("nmap scans the box from the lab's side")
        tcp, udp = scan.tcp(station, address), scan.udp(station, address)
        report = self.report.open_ports
        report["tcp"] = tcp.open
        report["tcp_others"] = tcp.others
        report["udp_answering"] = udp.open
        report["udp_states"] = {str(port): state for port, state in sorted(udp.ports.items())}
        report["tftp_gives_loaders"] = inside.is_ready(station, address)
        report["udp_listening"] = inside.udp_listeners(self.root)
        report["68_idle"] = scan.udp_from_67(station, address)
        report["68_listens_while_probing"] = inside.listens_while_probing(self.root, 68)
        report["metrics_from_lab"] = guard.answers(station, f"http://{address}/metrics")
        report["metrics_on_box"] = self.root.run(_FETCH.format("http://127.0.0.1/metrics")).strip()
        report["nfs_versions"] = self.root.run("cat /proc/fs/nfsd/versions").strip()
        report["nfs3_mounts"] = inside.nfs3_answers(station, address)
        report["proxy_udp_listening"] = inside.udp_listeners_in_proxy_mode(self.box, self.root)
        self.say(f"open: TCP {tcp.open}, UDP {udp.open} answer, {report['udp_listening']} have a listener")

    def look_at_units(self) -> None:
        """Note how systemd rates the units."""
        self.report.security_table, self.report.unit_scores = inside.security(self.root)
        for line in self.report.security_table.splitlines():
            self.say(f"    {line}")

    def try_to_get_out(self) -> None:
        """SSH leads into the console and nowhere else; a viewer changes nothing."""
        root = self.root
        for name in (ADMIN, VIEWER):
            guard.make_account(root, name, PASSWORD)
        self.box.cli("operator", "add", VIEWER, "--role", "viewer", "--password-stdin", stdin=PASSWORD + "\n")
        out = self.report.ways_out
        self.say("SSH: commands, files, forwardings")
        way = Way(self.lab.box, str(BOX.ip), VIEWER)
        out["ssh"] = guard.escapes(way, PASSWORD, root, self.folder)
        out["forwardings"] = guard.forwardings(way, PASSWORD, self.lab.box)
        out["account"] = guard.account_changes(root, VIEWER)
        self.say("SSH: a viewer in the console")
        with guard.opens_console(way) as terminal:
            guard.log_in(terminal, PASSWORD)
            operating.sign_in(terminal, VIEWER, PASSWORD)
            out["keys"] = guard.keys_that_lead_out(terminal)
            out["viewer"] = guard.viewer_changes(terminal, self.appliance)
        way.close()
        for what, found in out.items():
            if found:
                self.fault(f"{what}: {'; '.join(found)}")

    # The end

    def start_with_secure_boot(self) -> None:
        """Cut the box's power, and start its disk in a machine with UEFI and Secure Boot."""
        self.say("the box's power is cut; its disk goes into a machine with Secure Boot")
        self.appliance.save_journal()
        self.appliance.hang_up()
        self.machine.power_off()
        other = self.machine.twin("uefi-sb")
        try:
            other.power_on()
            inside.waits_until_ready(self.lab.box, str(BOX.ip), BOOT_S)
            ready_s = time.monotonic() - other.on_since
            self.root.waits_until_there(60)
            time.sleep(5)  # the console draws itself
            picture = other.picture(self.folder / "secure-boot.png")
            said = self.root.run("journalctl -k -b --no-pager | grep -i 'secure boot' || true")
            verified = self.box.cli("image", "verify", IMAGE, timeout_s=180)
            self.report.secure_boot = {
                "kernel_says_enabled": "Secure boot enabled" in said,
                "ready_s": round(ready_s, 1),
                "screen": picture.name,
                "image_verified": IMAGE in verified,
            }
        finally:
            self.appliance.hang_up()
            other.destroy()


def run(folder: Path, say: Callable[[str], None]) -> Story:
    """The whole story, itself and all it leaves behind in `folder`; the lab is gone when it returns."""
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def tell(text: str) -> None:
        line = f"{time.monotonic() - started:6.1f} s  {text}"
        say(line)
        with (folder / "story.txt").open("a") as file:
            file.write(line + "\n")

    disk = folder / "master.img"
    copy_disk(master("small", say=tell), disk)
    disk.chmod(0o644)
    key = new_key(folder)
    with LabNetwork(box_address=STATION) as lab:
        story = Story(lab, Machine(lab, folder, root_key=key), folder, key, tell)
        try:
            _tell_it(story, disk)
        finally:
            with suppress(LabError):
                if story.machine.is_on:
                    story.appliance.save_journal()
            story.power_off_all()
            story.appliance.hang_up()
            story.root.close()
            story.machine.destroy()
            for pc in story.pcs.values():
                pc.destroy()
    story.report.seconds = time.monotonic() - started
    return story


def _tell_it(story: Story, disk: Path) -> None:
    story.first_start()
    story.restart_alone()
    story.add_pc("master", PC, disk=disk)
    for name in PCS:
        story.add_pc(name, PC)
    story.chapter("The ways out", story.try_to_get_out)
    story.chapter("The look at the ports", story.look_at_ports)
    story.chapter("The look at the units", story.look_at_units)
    if story.capture("master", IMAGE) is None:
        return
    story.diecast("setting", "set", "cast.rate_mbit", str(SLOW_MBIT_S))
    story.diecast("service", "restart", "cast")
    story.deploy(IMAGE, PCS, PCS[-1], LATE_S)
    story.compare("master", PCS)
    story.chapter("The start with Secure Boot", story.start_with_secure_boot)
