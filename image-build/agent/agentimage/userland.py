"""Programs, libraries, Python and our own files of the image."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from agentimage import elf
from agentimage.archive import Tree
from agentimage.packages import LIBRARIES, Root
from agentimage.recipe import FILES, PROJECT, BuildError, agent_files, tree_of, words

PYTHON = "usr/lib/python3.13"
CODE_FOLDER = "usr/lib/diecast"
LIBRARY_FOLDERS = (LIBRARIES, "usr/lib")
FOLDERS = ("dev", "mnt", "proc", "root", "run", "sys", "var/lib/nfs", "var/lib/lvm")
# Debian's merged /usr, and what programs expect by an old name.
LINKS = {
    "bin": "usr/bin",
    "sbin": "usr/sbin",
    "lib": "usr/lib",
    "lib64": "usr/lib64",
    "usr/lib64/ld-linux-x86-64.so.2": "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "etc/mtab": "../proc/self/mounts",
    "var/run": "../run",
    "usr/sbin/fsck.ext4": "e2fsck",
    "usr/sbin/mkfs.ext4": "mke2fs",
}
# Commands of busybox that would take the place of ours, or make no sense here.
BUSYBOX_NOT = {"dpkg", "dpkg-deb", "httpd", "init", "linuxrc", "rpm", "rpm2cpio", "run-init", "switch_root", "udhcpd"}


def add_to(tree: Tree, root: Root, work: Path) -> None:
    """Put the whole userland, without the agent's code, into `tree`."""
    for name in FOLDERS:
        tree.folder(name)
    tree.folder("tmp", 0o1777)
    tree.character_device("dev/console", 5, 1)
    tree.character_device("dev/null", 1, 3)
    for name, target in LINKS.items():
        tree.link(name, target)
    for name in words("programs.txt") + words("files.txt"):
        copy(tree, root, name)
    add_python(tree, root, work)
    add_libraries(tree, root)
    add_busybox_commands(tree, root)
    for path in tree_of(FILES):
        name = str(path.relative_to(FILES))
        tree.file("usr/lib/diecast/coldplug.py" if name == "coldplug.py" else name, path)


def copy(tree: Tree, root: Root, name: str) -> None:
    """A file, a folder, or a link with what it points to. Raises `BuildError` when it is not there."""
    path = root.path / name
    if path.is_symlink():
        target = os.readlink(path)
        tree.link(name, target)
        copy(tree, root, os.path.normpath(Path(name).parent / target) if target[0] != "/" else target[1:])
    elif path.is_dir():
        for file in tree_of(path):
            tree.file(f"{name}/{file.relative_to(path)}", file)
    elif path.is_file():
        tree.file(name, path)
    else:
        raise BuildError(f"the recipe names '{name}', which is in none of the packages.")


def add_python(tree: Tree, root: Root, work: Path) -> None:
    """The standard library as byte code without sources, in the old layout that Python imports directly (PEP 3147)."""
    left_out = set(words("python-leave-out.txt"))
    stage = work / "python"
    source = root.path / PYTHON
    for path in tree_of(source):
        name = path.relative_to(source)
        kept = not left_out & {str(name), *map(str, name.parents)}
        if kept and path.suffix in {".py", ".so", ".pem"}:
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, stage / name)
    # Unchecked: nothing compares times of sources; stripped paths: the same bytes wherever it is built.
    options = ["-q", "-b", "--invalidation-mode", "unchecked-hash", "-s", str(stage), "-p", f"/{PYTHON}"]
    root.python("-m", "compileall", *options, str(stage))
    for path in tree_of(stage):
        if path.suffix != ".py":
            tree.file(f"{PYTHON}/{path.relative_to(stage)}", path, 0o644)


def add_libraries(tree: Tree, root: Root) -> None:
    """Every library that a file of the tree needs, and those that the libraries need. Raises `BuildError`."""
    waiting = [entry.source for entry in tree.entries.values() if entry.source is not None]
    seen: set[str] = set()
    while waiting:
        for library in elf.needed(waiting.pop()):
            if library in seen:
                continue
            seen.add(library)
            name = next((f"{d}/{library}" for d in LIBRARY_FOLDERS if (root.path / d / library).exists()), None)
            if name is None:
                raise BuildError(f"the library {library} is in none of the packages.")
            copy(tree, root, name)
            waiting.append((root.path / name).resolve())


def add_busybox_commands(tree: Tree, root: Root) -> None:
    """A link for every command of busybox that no other program of the image provides."""
    for line in root.run("usr/bin/busybox", "--list").split():
        taken = any(f"{folder}/{line}" in tree.entries for folder in ("usr/bin", "usr/sbin"))
        if not taken and line not in BUSYBOX_NOT:
            tree.link(f"usr/bin/{line}", "busybox")


def agent_tree(root: Root, work: Path) -> Tree:
    """The agent's code: sources (for tracebacks) and byte code."""
    tree = Tree()
    for path in agent_files():
        name = path.relative_to(PROJECT)
        target = work / "code" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
    folder = work / "code"
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", f"/{CODE_FOLDER}"]
    root.python("-m", "compileall", *options, str(folder))
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        tree.file(f"{CODE_FOLDER}/{path.relative_to(folder)}", path)
    return tree
