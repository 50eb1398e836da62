"""`make demo`: the main job in the virtual lab, shown as the operator sees it, with a table and a report at the end.

A Debian master with Secure Boot is captured and cast onto a Secure Boot PC and, switched on late, a BIOS PC with larger
disks of other kinds; then both start from the disks they were given. `--windows` does capture, deployment and
comparison with a Windows-shaped disk, which does not boot. Exit status 0 only if all held.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

from tests.lab.accel import kvm_works
from tests.lab.box import BOOT_FILES, Box, BoxOptions
from tests.lab.command import BUILD, LabError
from tests.lab.disks import master
from tests.lab.gptdisk import copy_disk
from tests.lab.mainjob import MainJob
from tests.lab.network import LabNetwork
from tests.lab.pc import Hardware
from tests.lab.windows_disk import CONTENT_LEFT_OUT

FOLDER = BUILD / "lab" / "demo"
MASTER = Hardware(firmware="uefi-sb", bus="virtio")
TARGETS = {
    "secure-pc": Hardware(firmware="uefi-sb", bus="nvme", disk_mib=2560, cpus=1),
    "bios-pc": Hardware(firmware="bios", bus="sata", disk_mib=3072, cpus=1),
}
LATE, LATE_S = "bios-pc", 20  # the firmware of the other one takes so much longer
EMULATED_MBIT_S = 80  # about what two PCs take in whose processors are emulated
LOGIN_PROMPT = r"^diecast-master login:"


def run(folder: Path, *, windows: bool = False) -> MainJob:
    """Run the main job with everything it leaves behind in `folder`; the lab is gone when it returns."""
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {text}", flush=True)

    source = master("windows" if windows else "debian", say=say)
    disk = folder / "master.img"
    copy_disk(source, disk)
    disk.chmod(0o644)
    kvm = kvm_works()
    say(f"The lab starts; guests run under {'KVM' if kvm else 'software emulation'}. Logs: {folder}")
    options = BoxOptions() if kvm else BoxOptions(extra=f"[cast]\nrate_mbit = {EMULATED_MBIT_S}\n")
    with LabNetwork() as lab:
        box = Box(lab, folder, options)
        job = MainJob(lab, box, folder, say=say, left_out=CONTENT_LEFT_OUT if windows else ())
        try:
            box.start()
            _steps(job, disk, windows=windows)
        finally:
            job.power_off_all()
            box.destroy()
            for pc in job.pcs.values():
                pc.destroy()
    job.report.seconds = time.monotonic() - started
    return job


def _steps(job: MainJob, disk: Path, *, windows: bool) -> None:
    job.add_pc("master", MASTER, disk=disk)
    for name, hardware in TARGETS.items():
        job.add_pc(name, hardware)
    image = "windows" if windows else "debian"
    if job.capture("master", image) is None:
        return
    job.diecast("image", "list")
    job.deploy(image, list(TARGETS), LATE, LATE_S)
    job.compare("master", list(TARGETS))
    if not windows:
        job.start_own_disks(list(TARGETS), LOGIN_PROMPT)


def all_held(job: MainJob, *, windows: bool = False) -> bool:
    """Whether everything that was to be shown was shown."""
    report = job.report
    if not report.master_unchanged or len(report.targets) != len(TARGETS) or report.faults:
        return False
    for target in report.targets:
        secure = TARGETS[target.name].firmware == "uefi-sb"
        if not (target.deployed and target.content_equal and target.by_cast_bytes):
            return False
        if not windows and (not target.booted or target.secure_boot is not secure):
            return False
    return True


def table(job: MainJob, *, windows: bool = False) -> str:
    """The result for a terminal."""
    report = job.report
    image = report.image
    yes = {True: "yes", False: "NO"}
    cast = report.cast
    lines = [
        "",
        f"Image: {image['used_bytes'] / 1e6:.0f} MB used, {image['stored_bytes'] / 1e6:.0f} MB stored,"
        f" {image['chunks']} chunks; the master's disk is unchanged: {yes[report.master_unchanged]}",
        f"Cast: {cast['sent_bytes'] / 1e6:.0f} MB sent for {cast['pcs']} PCs,"
        f" {cast['repair_bytes'] / 1e6:.0f} MB of it for repair",
        f"{'PC':10} {'firmware':8} {'secure':6} {'deployed':8} {'equal':5} {'started':7} {'seconds':>7} {'late s':>6}"
        f" {'MB by cast':>10} {'by NFS':>6}",
    ]
    lines += [
        f"{t.name:10} {t.firmware:8} {'on' if t.secure_boot else 'off':6} {yes[t.deployed]:8} "
        f"{yes[t.content_equal]:5} {'-' if windows else yes[t.booted]:7} {t.seconds:7.0f} {t.late_s:6}"
        f" {t.by_cast_bytes / 1e6:10.0f} {t.by_nfs_bytes / 1e6:6.0f}"
        for t in report.targets
    ]
    return "\n".join([*lines, f"Whole run: {report.seconds:.0f} s"])


def main() -> int:
    """Run the demo; 0 only if all held."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--report", type=Path, default=BUILD / "demo" / "report.json")
    parser.add_argument("--windows", action="store_true", help="use the Windows-shaped disk, which does not boot")
    options = parser.parse_args()
    if not (BOOT_FILES / "initrd.img").exists():
        print(f"{BOOT_FILES} has no initrd.img: run 'make agent' first.", file=sys.stderr)
        return 1
    try:
        job = run(FOLDER, windows=options.windows)
    except (LabError, AssertionError) as error:
        print(f"The demo broke off: {error}", file=sys.stderr)
        return 1
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(job.report.to_dict(), indent=2) + "\n")
    print(table(job, windows=options.windows))
    print(f"Report: {options.report}")
    held = all_held(job, windows=options.windows)
    if not held:
        print("Not everything held:", *job.report.faults, sep="\n  ", file=sys.stderr)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
