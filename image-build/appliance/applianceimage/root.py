"""The root file system: Diecast and our files put into the base, freed of what is left by chance."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bootdisk.command import run

from applianceimage.base import DPKG_OPTIONS, UNSAFE, fix_times
from applianceimage.layout import GRUB_CFG
from applianceimage.recipe import CHRONY, FILES, PRESET, RECIPE, BuildError, tree_of, words

# Made anew by the machine itself, or by chance: logs, caches, keys, copies of what was.
_LEFTOVERS = (
    "etc/*-",
    "etc/.pwd.lock",
    "etc/hostname.dpkg-*",
    "etc/ssh/ssh_host_*",
    "etc/machine-id",
    "root/.*",
    "run/*",
    "tmp/*",
    "var/cache/apt/*",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/*",
    "var/cache/man/*",
    "var/lib/apt/lists/*",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/*-old",
    "var/lib/systemd/catalog/database",
    "var/lib/systemd/random-seed",
    "var/lib/ucf/*.[0-9]",
    "var/log/*",
    "var/tmp/*",
)


def add_package(root: Path, deb: Path) -> None:
    """Install Diecast's package; what it depends on is there. Raises `CommandError` in dpkg's words."""
    inside = root / "var/cache/apt/archives" / deb.name
    shutil.copyfile(deb, inside)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    run(["chroot", root, "dpkg", "--install", f"/var/cache/apt/archives/{deb.name}"], env=environment)


def configure(root: Path) -> None:
    """Put our files in and have systemd enable and disable what the recipe says. Raises `CommandError`."""
    for path in tree_of(FILES / "root"):
        target = root / path.relative_to(FILES / "root")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    for source, folder in ((PRESET, "etc/systemd/system-preset"), (CHRONY, "etc/chrony/conf.d")):
        (root / folder).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, root / folder / source.name)
    (root / "boot/grub").mkdir(parents=True, exist_ok=True)
    (root / "boot/grub/grub.cfg").write_text(GRUB_CFG)
    shutil.copyfile(RECIPE / "sources.list", root / "etc/apt/sources.list")
    (root / "etc/apt/sources.list.d/0000sources.list").unlink(missing_ok=True)
    _keep_options(root)
    _recovery(root)
    in_root = ["chroot", str(root)]
    run([*in_root, "systemctl", "--quiet", "mask", *words("units-masked.txt")])
    run([*in_root, "systemctl", "--quiet", "disable", *words("units-disabled.txt")])
    run([*in_root, "systemctl", "--quiet", "enable", *words("units-enabled.txt")])
    if (root / "usr/bin/diecast").exists():
        run([*in_root, "systemctl", "--quiet", "preset", *words("units-preset.txt")])
    run([*in_root, "systemctl", "--quiet", "set-default", "multi-user.target"])
    for name in words("generators-masked.txt"):
        (root / "etc/systemd/system-generators" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "etc/systemd/system-generators" / name).symlink_to("/dev/null")
    run([*in_root, "passwd", "--quiet", "--lock", "root"])
    run([*in_root, "locale-gen"])


def _recovery(root: Path) -> None:
    """At the machine's own screen root logs in with an admin's password: see the program diecast-recovery."""
    path = root / "etc/pam.d/login"
    line = (
        "auth [success=done default=ignore] pam_exec.so quiet expose_authtok type=auth /usr/local/sbin/diecast-recovery"
    )
    text = path.read_text()
    head, marker, rest = text.partition("@include common-auth\n")
    if not marker:
        raise BuildError("/etc/pam.d/login includes no common-auth. Look at what the package login says now.")
    path.write_text(f"{head}{line}\n{marker}{rest}")


def _keep_options(root: Path) -> None:
    """dpkg goes on leaving out what we left out, but is no longer careless about power cuts."""
    path = root / DPKG_OPTIONS
    lines = [line for line in path.read_text().splitlines() if line != UNSAFE]
    path.write_text("\n".join(lines) + "\n")


def clean(root: Path, epoch_s: int) -> None:
    """Remove what differs from build to build; nothing is younger than `epoch_s`, seconds since 1970."""
    for pattern in _LEFTOVERS:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                _empty(path)
            else:
                path.unlink()
    for name in ("var/cache/apt/archives/partial", "var/lib/apt/lists/partial"):
        # apt makes them when it wants them; whose they are depends on who could read the folder of the build.
        shutil.rmtree(root / name, ignore_errors=True)
    # Empty, not missing: systemd makes an id at the first start, and does not take every preset anew.
    (root / "etc/machine-id").touch()
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").symlink_to("/run/systemd/resolve/resolv.conf")
    for name in ("usr/lib/clock-epoch", "etc/.updated", "var/.updated"):
        # The last two: nothing to bring up to date at the first start (systemd-update-done.service(8)).
        (root / name).touch()
    fix_times(root, epoch_s)
    # Older than what was made from them, or the first start makes it again (console-setup.sh).
    for name in ("console-setup", "keyboard"):
        os.utime(root / "etc/default" / name, (epoch_s - 60, epoch_s - 60))


def _empty(folder: Path) -> None:
    """Remove the files below a folder; folders stay, with their owners, since programs expect them."""
    for parent, _, names in os.walk(folder):
        for name in names:
            Path(parent, name).unlink()
