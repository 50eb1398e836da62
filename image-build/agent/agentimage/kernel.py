"""Modules and firmware: which of the kernel package's are in the image.

The recipe names folders and modules; `modules.dep` and soft dependencies add what those need. Modules are stored
unpacked (their signature is inside), because one compressor over everything beats many small ones.
References: modules.dep(5), modprobe.d(5) softdep, modinfo(8) `firmware`.
"""

from __future__ import annotations

import fnmatch
import lzma
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from agentimage import elf
from agentimage.archive import Tree
from agentimage.packages import Root
from agentimage.recipe import BuildError, words

WANTED_INFO = {"firmware", "softdep", "weakdep"}
INDEXES = (
    "modules.alias.bin",
    "modules.builtin.alias.bin",
    "modules.builtin.bin",
    "modules.dep",
    "modules.dep.bin",
    "modules.devname",
    "modules.softdep",
    "modules.weakdep",
)


@dataclass(slots=True)
class Modules:
    """The kernel package's modules: unpacked copies of all, and which are wanted."""

    release: str
    folder: Path  # .../lib/modules/RELEASE, of the unpacked copies
    everything: list[str] = field(default_factory=list)  # relative to kernel/, with suffix .ko
    chosen: set[str] = field(default_factory=set)
    firmware: dict[str, set[str]] = field(default_factory=dict)  # firmware name -> modules that name it
    firmware_absent: dict[str, str] = field(default_factory=dict)  # name -> why


def release_of(root: Root) -> str:
    """The version of the one kernel in the root."""
    releases = sorted(path.name for path in (root.path / "usr/lib/modules").iterdir())
    if len(releases) != 1:
        raise BuildError(f"exactly one kernel is needed in the packages, not {releases}. Run with --refresh")
    return releases[0]


def unpack(root: Root, work: Path) -> Modules:
    """Decompress every module below `work` and index them with the root's depmod."""
    release = release_of(root)
    source = root.path / "usr/lib/modules" / release
    modules = Modules(release, work / "lib/modules" / release)
    for path in sorted((source / "kernel").rglob("*.ko.xz")):
        name = str(path.relative_to(source / "kernel"))[: -len(".xz")]
        target = modules.folder / "kernel" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(lzma.decompress(path.read_bytes()))
        modules.everything.append(name)
    _index(root, work, modules, source)
    return modules


def _index(root: Root, work: Path, modules: Modules, source: Path) -> None:
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copy(source / name, modules.folder / name)
    root.run("usr/sbin/depmod", "-b", str(work), modules.release)


def choose(modules: Modules, recipe: list[str]) -> None:
    """Fill `chosen` by the recipe and all dependencies. Raises `BuildError` for a line that names nothing."""
    unknown = []
    for line in recipe:
        pattern = line.removeprefix("-")
        found = {name for name in modules.everything if _matches(name, pattern)}
        if not found and not _is_builtin(modules, pattern):
            unknown.append(pattern)
        modules.chosen = modules.chosen - found if line.startswith("-") else modules.chosen | found
    if unknown:
        raise BuildError(f"recipe/modules.txt: the kernel {modules.release} has no module {', '.join(unknown)}.")
    _add_dependencies(modules)


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern) if pattern.endswith("/") else name == f"{pattern}.ko"


def _is_builtin(modules: Modules, pattern: str) -> bool:
    builtin = (modules.folder / "modules.builtin").read_text().splitlines()
    return any(_matches(line.removeprefix("kernel/"), pattern) for line in builtin)


def _add_dependencies(modules: Modules) -> None:
    hard = {}
    for line in (modules.folder / "modules.dep").read_text().splitlines():
        name, _, needs = line.partition(":")
        hard[name.removeprefix("kernel/")] = [need.removeprefix("kernel/") for need in needs.split()]
    providers = _providers(modules)
    waiting = sorted(modules.chosen)
    while waiting:
        name = waiting.pop()
        soft = [_plain(word) for kind, text in _info(modules, name) if kind != "firmware" for word in text.split()]
        wanted = hard.get(name, []) + [provider for word in soft for provider in providers.get(word, [])]
        new = [need for need in wanted if need not in modules.chosen]
        modules.chosen.update(new)
        waiting += new


def _providers(modules: Modules) -> dict[str, list[str]]:
    """Module name or alias -> modules: a soft dependency such as ext4's `crc32c` is an alias that several answer."""
    by_name = {_module_name(name): name for name in modules.everything}
    providers = {word: [name] for word, name in by_name.items()}
    for line in (modules.folder / "modules.alias").read_text().splitlines():
        kind, *fields = line.split()
        if kind == "alias" and _plain(fields[1]) in by_name:
            providers.setdefault(_plain(fields[0]), []).append(by_name[_plain(fields[1])])
    return providers


def _module_name(path: str) -> str:
    return _plain(Path(path).stem)


def _plain(word: str) -> str:
    return word.replace("-", "_")


def _info(modules: Modules, name: str) -> list[tuple[str, str]]:
    """What the module says of itself: `key=value` texts, each ended by a zero byte, as modinfo prints them."""
    content = elf.section((modules.folder / "kernel" / name).read_bytes(), b".modinfo")
    pairs = (text.decode().partition("=") for text in content.split(b"\0"))
    return [(key, value) for key, _, value in pairs if key in WANTED_INFO]


def choose_firmware(root: Root, modules: Modules, datacentre: bool) -> dict[str, Path]:
    """Firmware that the chosen modules name: name -> file in the root. Notes absent names with the reason."""
    excluded = set() if datacentre else {_plain(name) for name in words("firmware-datacentre.txt")}
    folder = root.path / "usr/lib/firmware"
    available = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())
    found: dict[str, Path] = {}
    for name in sorted(modules.chosen):
        for kind, wanted in _info(modules, name):
            if kind != "firmware":
                continue
            modules.firmware.setdefault(wanted, set()).add(_module_name(name))
            files = fnmatch.filter(available, wanted) if "*" in wanted else [wanted] * (wanted in available)
            if not files:
                modules.firmware_absent[wanted] = "unpackaged"
            elif _module_name(name) in excluded:
                modules.firmware_absent.setdefault(wanted, "left-out")
            else:
                found.update({file: folder / file for file in files})
    for wanted in set(found) & set(modules.firmware_absent):  # a storage driver names the same file
        del modules.firmware_absent[wanted]
    return found


def add_to(tree: Tree, modules: Modules, firmware: dict[str, Path]) -> None:
    """Put the chosen modules with a fresh index, and the firmware, into the image."""
    base = f"usr/lib/modules/{modules.release}"
    for name in modules.chosen:
        tree.file(f"{base}/kernel/{name}", modules.folder / "kernel" / name, 0o644)
    for name in INDEXES:
        if (modules.folder / name).exists():
            tree.file(f"{base}/{name}", modules.folder / name, 0o644)
    for name, path in firmware.items():
        tree.file(f"usr/lib/firmware/{name}", path.resolve(), 0o644)


def drop_others(root: Root, work: Path, modules: Modules) -> None:
    """Remove the unpacked copies that are not chosen, and index again, so that the index names only what is there."""
    for name in modules.everything:
        if name not in modules.chosen:
            (modules.folder / "kernel" / name).unlink()
    root.run("usr/sbin/depmod", "-b", str(work), modules.release)


def list_modules(modules: Modules) -> str:
    """`in|out PATH` of every module of the kernel package."""
    return "".join(f"{'in ' if name in modules.chosen else 'out'} {name}\n" for name in modules.everything)


def list_firmware(modules: Modules) -> str:
    """`in|left-out|unpackaged<TAB>NAME<TAB>MODULES` of every firmware that a chosen module names."""
    lines = []
    for name, users in sorted(modules.firmware.items()):
        lines.append(f"{modules.firmware_absent.get(name, 'in')}\t{name}\t{' '.join(sorted(users))}\n")
    return "".join(lines)
