"""The package's tree: which file goes where, with which permissions."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from agentimage.packages import Root
from agentimage.recipe import BuildError

from debpackage.python import LIST, compile_all
from debpackage.source import BOOT_FILES, FILES, Source

HOME = "usr/lib/diecast"
VENV = f"{HOME}/venv"
SITE = f"{VENV}/lib/python3.13/site-packages"
DOC = "usr/share/doc/diecast"

# Folder of systemd/ (or what matches there) -> where it goes. The preset stays out: which units an installation
# enables, and who has tty1, is the appliance's to say, not a package's on somebody else's server.
SYSTEM_FILES = {
    "*.service": "usr/lib/systemd/system",
    "*.timer": "usr/lib/systemd/system",
    "*.target": "usr/lib/systemd/system",
    "*.socket": "usr/lib/systemd/system",
    "*.mount": "usr/lib/systemd/system",
    "*.service.d": "usr/lib/systemd/system",
    "sysusers.d/*": "usr/lib/sysusers.d",
    "tmpfiles.d/*": "usr/lib/tmpfiles.d",
    "polkit-1/rules.d/*": "usr/share/polkit-1/rules.d",
    "sshd_config.d/*": "etc/ssh/sshd_config.d",
    "sudoers.d/*": "etc/sudoers.d",
    # To be copied to chrony's folder by who wants the lab to have this server's time: installing opens nothing.
    "chrony/*": f"{DOC}/chrony",
}
PRIVATE = {"etc/sudoers.d/diecast": 0o440}  # sudo warns of others
EMPTY = ("etc/exports.d", "etc/nfs.conf.d")  # tmpfiles makes them too; owned here, they go with the package


def make(source: Source, python: Path, target: Path) -> None:
    """Fill `target` with everything that is installed. `python` is a folder that `debpackage.python.fetch` made."""
    _python(source, python, target)
    _boot(source, target)
    _system(source, target)
    _documents(source, python, target)
    for name in EMPTY:
        (target / name).mkdir(parents=True, exist_ok=True)
    _settings(source, target / "etc/diecast/diecast.toml")
    _permissions(target)


def _python(source: Source, python: Path, target: Path) -> None:
    site = target / SITE
    shutil.copytree(python / "site", site)
    ignore = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(source.tree / "appliance", site / "appliance", ignore=ignore)
    shutil.copytree(source.tree / "bootfiles", site / "appliance/_bootfiles", ignore=ignore)
    ours = target / "ours/appliance"  # compiled apart from the wheels, which are compiled already
    shutil.move(site / "appliance", ours)
    compile_all(Root(python / "root"), ours.parent)
    shutil.move(ours, site / "appliance")
    ours.parent.rmdir()
    _put(FILES / "pyvenv.cfg", target / VENV / "pyvenv.cfg")
    (target / VENV / "bin").mkdir()
    (target / VENV / "bin/python3").symlink_to("../../../../bin/python3.13")
    _put(FILES / "diecast", target / "usr/bin/diecast")
    _put(FILES / "kept-store", target / HOME / "kept-store")


def _boot(source: Source, target: Path) -> None:
    for name in BOOT_FILES:
        _put(source.boot / name, target / HOME / "boot" / name)


def _system(source: Source, target: Path) -> None:
    for pattern, folder in SYSTEM_FILES.items():
        for found in sorted((source.tree / "systemd").glob(pattern)):
            if found.is_dir():
                for file in sorted(found.iterdir()):
                    _put(file, target / folder / found.name / file.name)
            else:
                _put(found, target / folder / found.name)


def _documents(source: Source, python: Path, target: Path) -> None:
    doc = target / DOC
    shutil.copytree(source.tree / "docs", doc, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True)
    for name in ("README.md", "CHANGELOG.md"):
        _put(source.tree / name, doc / name)
    _put(source.boot / "packages.tsv", doc / "agent-packages.tsv")
    _put(python / LIST, doc / "python-packages.tsv")
    _zip(_changelog(source).encode(), doc / "changelog.gz")
    _zip((FILES / "diecast.1").read_bytes(), target / "usr/share/man/man1/diecast.1.gz")
    license_text = (source.tree / "LICENSE").read_text().strip()
    rows = [line.split("\t") for line in (python / LIST).read_text().splitlines()]
    listed = "".join(f"   {name} {version}: {words}\n" for name, version, _, words in rows)
    text = (FILES / "copyright").read_text().replace("@LICENSE@", license_text).replace("@PYTHON@", listed)
    (doc / "copyright").write_text(text)
    _put(FILES / "lintian-overrides", target / "usr/share/lintian/overrides/diecast")


def _changelog(source: Source) -> str:
    """Debian's form of it; what changed is in CHANGELOG.md."""
    when = format_datetime(datetime.fromtimestamp(source.time_s, UTC))
    maintainer = next(
        line.partition(": ")[2] for line in (FILES / "control").read_text().splitlines() if line.startswith("Maint")
    )
    lines = [f"diecast ({source.version}) trixie; urgency=medium", "", f"  * See /{DOC}/CHANGELOG.md.", ""]
    return "\n".join([*lines, f" -- {maintainer}  {when}", ""])


def _settings(source: Source, target: Path) -> None:
    """Every key with its meaning and its default, all as comments: what an operator did not set follows the version."""
    command = [sys.executable, "-B", "-c", "from appliance import config; print(config.defaults_toml().rstrip())"]
    done = subprocess.run(command, cwd=source.tree, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"The settings' defaults cannot be written:\n{done.stderr.strip()}")
    lines = ["# Settings of Diecast. What is commented out is the default. Then: systemctl restart 'diecast-*'", ""]
    lines += [f"#{line}" if line and not line.startswith(("#", "[")) else line for line in done.stdout.splitlines()]
    target.parent.mkdir(parents=True)
    target.write_text("\n".join(lines) + "\n")


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _zip(data: bytes, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress(data, 9, mtime=0))


def _permissions(target: Path) -> None:
    """Whatever the source's were: 755 for folders and programs, 644 for the rest."""
    programs = {target / "usr/bin/diecast", target / HOME / "kept-store"}
    for path in target.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
    for name, mode in PRIVATE.items():
        (target / name).chmod(mode)
    target.chmod(0o755)
