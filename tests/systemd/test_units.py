"""The units as systemd itself reads them, and what they leave to each service."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.backup.places import MOUNT_PARENTS
from appliance.cli.program import COMMANDS
from appliance.services.runtime import MODULES, STOP_GRACE_S
from tests.systemd.units import COMMON, UNITS, installed, one, read

ONCE = ("verify", "backup")  # run by timers
ASKED = ("address", "image-disk")  # what the console asks of root
CONSOLE = UNITS / "diecast-console@.service"
MOST_EXPOSED = 2.5  # of 10, as systemd-analyze counts


def unit(name: str) -> Path:
    return UNITS / f"diecast-{name}.service"


def test_every_service_has_a_unit_that_starts_it_and_the_target_wants_it() -> None:
    expected = [*map(unit, (*MODULES, *ONCE, *ASKED, "firewall")), CONSOLE]
    assert sorted(UNITS.glob("*.service")) == sorted(expected)
    wanted = " ".join(read(UNITS / "diecast.target")["Unit"]["Wants"]).split()
    for name in MODULES:
        service = read(unit(name))["Service"]
        assert one(service, "ExecStart") == f"/usr/bin/diecast serve {name}"
        assert f"diecast-{name}.service" in wanted
    assert {f"diecast-{name}.timer" for name in ONCE} < set(wanted)


@pytest.mark.parametrize("name", MODULES)
def test_a_service_tells_how_it_is_and_comes_back_by_itself(name: str) -> None:
    found = read(unit(name))
    service, head = found["Service"], found["Unit"]
    assert (one(service, "Type"), one(service, "NotifyAccess"), one(service, "Restart")) == (
        "notify",
        "main",
        "on-failure",
    )
    assert float(one(service, "WatchdogSec")) >= 30
    # systemd waits longer than we do before it kills,
    assert float(one(service, "TimeoutStopSec")) > STOP_GRACE_S
    # and its own restarts never reach the limit that ends them for good.
    within, burst = float(one(head, "StartLimitIntervalSec")), int(one(head, "StartLimitBurst"))
    assert 0 < within / float(one(service, "RestartSec")) < burst


@pytest.mark.parametrize("name", [name for name in MODULES if name != "nfs"])
def test_a_service_is_no_root_and_has_no_capability_that_it_may_not_have(name: str) -> None:
    service = read(unit(name))["Service"]
    assert (one(service, "User"), one(service, "Group")) == ("diecast", "diecast")
    assert one(service, "AmbientCapabilities") == one(service, "CapabilityBoundingSet")
    assert "CAP_SYS_ADMIN" not in one(service, "CapabilityBoundingSet")


def test_nfs_alone_is_root_without_power_over_network_and_machine() -> None:
    service = read(unit("nfs"))["Service"]
    assert "User" not in service
    assert not re.search("NET|SYS_|BOOT|MODULE|PTRACE", one(service, "CapabilityBoundingSet"))


def test_the_shared_part_which_systemd_reads_last_takes_nothing_back_from_a_unit() -> None:
    growing = {"RestrictAddressFamilies", "SystemCallFilter", "ReadWritePaths"}
    shared = set(read(COMMON)["Service"])
    for path in UNITS.glob("*.service"):
        assert shared & set(read(path)["Service"]) <= growing, path.name


def test_an_own_drop_in_is_read_after_the_shared_one() -> None:
    """By name, whatever folder it lies in: an allowance before the shared prohibition would be taken back."""
    for path in UNITS.glob("diecast-?*.service.d/*.conf"):
        assert path.name > COMMON.name


def test_no_unit_makes_folders_that_tmpfiles_makes() -> None:
    """StateDirectory= gives a folder, with all that is in it, to the user of the unit that starts last."""
    for path in (*UNITS.glob("*.service"), *UNITS.rglob("*.conf")):
        assert "\nStateDirectory=" not in path.read_text()
        assert "\nRuntimeDirectory=" not in path.read_text()


def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    """With the program replaced by one that is there, because the units name where a package puts it."""
    units = tmp_path / "units"
    shutil.copytree(UNITS, units)
    for path in units.glob("*.service"):
        path.write_text(path.read_text().replace("/usr/bin/diecast", "/bin/true"))
    template = units / CONSOLE.name
    names = [str(path) for path in units.glob("*diecast*") if path.is_file() and path != template]
    names.append(str(template).replace("@", "@tty1"))
    environ = {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"}
    command = ["systemd-analyze", "verify", "--man=no", *sorted(names)]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    ours = [line for line in done.stderr.splitlines() if "diecast" in line]
    assert (done.returncode, ours) == (0, [])


def exposures(root: Path) -> dict[str, float]:
    """What `systemd-analyze security` says of each unit of ours below `root`, drop-ins included."""
    found = {}
    for name in (*MODULES, *ONCE, *ASKED, "firewall", "console@tty1"):
        command = ["systemd-analyze", "security", "--offline=true", f"--root={root}", "--no-pager"]
        done = subprocess.run([*command, f"diecast-{name}.service"], capture_output=True, text=True, check=False)
        level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
        assert level, done.stderr
        found[name] = float(level[1])
    return found


def test_no_unit_is_more_exposed_than_we_promise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    installed(tmp_path)
    found = exposures(tmp_path)
    with capsys.disabled():
        print("\nsystemd-analyze security")
        for name, level in sorted(found.items(), key=lambda item: item[1]):
            print(f"  {level:4.1f}  diecast-{name}.service")
    assert {name: level for name, level in found.items() if level > MOST_EXPOSED} == {}


def test_the_drop_ins_count_in_that_measure(tmp_path: Path) -> None:
    """Without the shared part every unit is much worse: the measure above does read it."""
    shutil.rmtree(installed(tmp_path) / COMMON.parent.name)
    assert min(exposures(tmp_path).values()) > MOST_EXPOSED


def test_the_console_takes_the_place_of_getty_and_starts_again_whenever_it_ends() -> None:
    found = read(CONSOLE)
    head, service = found["Unit"], found["Service"]
    assert "getty@%i.service" in one(head, "Conflicts")
    assert one(head, "StartLimitIntervalSec") == "0"
    assert (one(service, "Restart"), one(service, "User")) == ("always", "diecast")
    assert one(service, "TTYPath") == "/dev/%I"
    assert one(service, "StandardError") == "tty", "Textual draws on standard error"
    assert "srv-diecast.mount" not in " ".join(head.get("Requires", ())), "a box without its disk shows why"
    assert "TERM=linux" in service["Environment"]
    assert "/var/lib/diecast" in one(head, "RequiresMountsFor")
    assert "systemd-tmpfiles-setup.service" in " ".join(head["After"])


def test_the_image_has_the_console_on_tty1_and_a_shell_on_tty2() -> None:
    """The first line that fits a unit counts (systemd.preset(5))."""
    text = (UNITS / "system-preset" / "80-diecast.preset").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert "disable getty@tty1.service" in lines
    assert "enable getty@.service tty2" in lines
    assert lines.index("enable diecast-console@.service tty1") < lines.index("enable diecast-*.service")


@pytest.mark.parametrize("name", ONCE)
def test_a_timer_runs_what_was_missed_and_its_service_gives_way_to_others(name: str) -> None:
    timer = read(UNITS / f"diecast-{name}.timer")["Timer"]
    service = read(unit(name))["Service"]
    done = subprocess.run(["systemd-analyze", "calendar", one(timer, "OnCalendar")], capture_output=True, check=False)
    assert done.returncode == 0
    assert one(timer, "Persistent") == "yes"
    assert one(service, "Type") == "oneshot"
    assert one(service, "IOSchedulingClass") == "idle"
    assert one(service, "CapabilityBoundingSet") == ""


def test_every_start_of_a_service_renews_the_packet_filter_where_somebody_asked_for_it() -> None:
    for name in MODULES:
        head = read(unit(name))["Unit"]
        assert "diecast-firewall.service" in one(head, "Wants")
        assert "diecast-firewall.service" in one(head, "After")
    found = read(unit("firewall"))
    # Inactive again when it is done, or a second start would do nothing.
    assert "RemainAfterExit" not in found["Service"]
    assert one(found["Unit"], "ConditionPathExists") == "/etc/diecast/firewall"


@pytest.mark.parametrize("name", ASKED)
def test_what_root_is_asked_for_is_done_once_and_nothing_starts_it_by_itself(name: str) -> None:
    found = read(unit(name))
    service = found["Service"]
    assert one(service, "Type") == "oneshot"
    assert "Install" not in found
    assert "User" not in service
    # Inactive again when it is done, or the next wish would start nothing.
    assert "RemainAfterExit" not in service
    assert one(found["Unit"], "StartLimitIntervalSec") == "0"
    for line in (one(service, "ExecStart"), one(service, "ExecStopPost")):
        words = line.split()
        group = next(command for command in COMMANDS if command.name == words[1])
        part = next(part for part in group.parts if part.name == words[2])
        apply = next(part for part in part.parts if part.name == words[3])
        assert {word for word in words[4:]} <= {word for item in apply.arguments for word in item.words}


def test_who_gives_the_box_its_address_has_no_capability_at_all() -> None:
    service = read(unit("address"))["Service"]
    assert one(service, "CapabilityBoundingSet") == ""
    assert set(one(service, "ReadWritePaths").split()) == {
        "-/etc/systemd/network",
        "-/run/systemd/network",
        "-/run/diecast",
    }


def test_images_are_verified_by_a_command_that_there_is() -> None:
    words = one(read(unit("verify"))["Service"], "ExecStart").split()[1:]
    image = next(command for command in COMMANDS if command.name == words[0])
    verify = next(part for part in image.parts if part.name == words[1])
    assert words[2] in {word for item in verify.arguments for word in item.words}


def test_backups_are_asked_for_every_hour_and_reach_every_place_where_disks_are_mounted() -> None:
    service = read(unit("backup"))["Service"]
    assert one(service, "ExecStart").split()[1:] == ["backup", "run", "--scheduled"]
    assert one(read(UNITS / "diecast-backup.timer")["Timer"], "OnCalendar") == "hourly"
    writable = {Path(word.removeprefix("-")) for word in " ".join(service["ReadWritePaths"]).split()}
    assert {*MOUNT_PARENTS, Path("/var/backups/diecast")} <= writable


def test_a_disk_for_backups_is_mounted_by_its_label_when_it_is_plugged_in(tmp_path: Path) -> None:
    """By systemd, since whoever makes the backup may mount nothing."""
    found = read(UNITS / "media-diecast.mount")
    mount = found["Mount"]
    label = Path(one(mount, "What")).name
    assert one(mount, "What") == f"/dev/disk/by-label/{label}"
    assert len(label) <= 16, "ext4 has room for no more"
    assert Path(one(mount, "Where")).parent in MOUNT_PARENTS, "an empty mount point is refused there"
    assert {"nosuid", "nodev", "noexec"} <= set(one(mount, "Options").split(","))
    for kind, path in (("mount", one(mount, "Where")), ("device", one(mount, "What"))):
        command = ["systemd-escape", "--path", f"--suffix={kind}", path]
        name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        assert name == {"mount": "media-diecast.mount", "device": one(found["Install"], "WantedBy")}[kind]


def test_the_image_mounts_that_disk_by_itself(tmp_path: Path) -> None:
    folder = installed(tmp_path)
    presets = tmp_path / "usr/lib/systemd/system-preset"
    shutil.copytree(folder / "system-preset", presets)
    command = ["systemctl", f"--root={tmp_path}", "preset", "media-diecast.mount"]
    subprocess.run(command, check=True, capture_output=True)
    wants = read(UNITS / "media-diecast.mount")["Install"]["WantedBy"][0]
    assert (tmp_path / "etc/systemd/system" / f"{wants}.wants" / "media-diecast.mount").is_symlink()
