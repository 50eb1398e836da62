"""Whether two disks hold the same, as foreign tools read them: never through the engine that wrote one of them.

ext4 is read by debugfs, FAT by mtools, NTFS by ntfsinfo and ntfscat, the table by sfdisk and sgdisk, what a partition
is by blkid. A reading is a flat dict from what a thing is called to what was found, so that a difference names itself.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.command import BUILD, LabError, run
from tests.lab.gptdisk import SECTOR, copy_range

Reading = dict[str, str]
_BOOT_CODE_BYTES = 440  # of the MBR; what follows is the disk signature and the table
_NTFS_BAD_CLUSTERS = 8  # its stream $Bad is a hole as large as the volume


@dataclass(slots=True)
class Comparison:
    """What a comparison found."""

    differences: list[str] = field(default_factory=list)
    compared: int = 0

    @property
    def equal(self) -> bool:
        """Whether both disks hold the same (and something at all)."""
        return not self.differences and self.compared > 0

    def __str__(self) -> str:
        if self.equal:
            return f"equal in {self.compared} respects"
        head = "\n".join("    " + line for line in self.differences[:20])
        return f"{len(self.differences)} differences in {self.compared} respects:\n{head}"


def read_disk(disk: Path, *, left_out: Sequence[str] = ()) -> Reading:
    """Everything that a copy of `disk` must share with it.

    `left_out` names files of an NTFS root whose content a capture leaves out: all of them but their content is read.
    """
    reading: Reading = {}
    with disk.open("rb") as stream:
        reading["boot code"] = hashlib.sha256(stream.read(_BOOT_CODE_BYTES)).hexdigest()
    table = _read_table(disk)
    for key, value in table.items():
        if key != "partitions":
            reading[f"table {key}"] = str(value)
    with tempfile.TemporaryDirectory(prefix="compare-", dir=_scratch()) as work:
        for index, part in enumerate(table["partitions"], 1):
            name = f"p{index}"
            start, size = part["start"] * SECTOR, part["size"] * SECTOR
            reading[f"{name} entry"] = json.dumps({k: v for k, v in part.items() if k != "node"}, sort_keys=True)
            found = _read_partition(disk, start, size, Path(work), left_out)
            reading |= {f"{name} {key}": value for key, value in found.items()}
    return reading


def compare(master: Reading, target: Reading) -> Comparison:
    """What differs between two readings."""
    result = Comparison(compared=len(master))
    for key in sorted(master.keys() | target.keys()):
        ours, theirs = master.get(key), target.get(key)
        if ours == theirs:
            continue
        if ours is None or theirs is None:
            result.differences.append(f"{key}: only on the {'target' if ours is None else 'master'}")
        else:
            result.differences.append(f"{key}: {_first_difference(ours, theirs)}")
    return result


def compare_disks(master: Path, target: Path, *, left_out: Sequence[str] = ()) -> Comparison:
    """Read both disks and compare them; the target's table must also be sound in itself."""
    result = compare(read_disk(master, left_out=left_out), read_disk(target, left_out=left_out))
    verdict = run(["sgdisk", "--verify", target], ok=(0, 1, 2, 3, 4))
    result.compared += 1
    if "No problems found" not in verdict:
        result.differences.append(f"sgdisk about the target: {verdict.strip()[:500]}")
    return result


def _first_difference(ours: str, theirs: str) -> str:
    for left, right in zip(ours.splitlines(), theirs.splitlines(), strict=False):
        if left != right:
            return f"'{left.strip()[:120]}' is '{right.strip()[:120]}' on the target"
    return "one is longer than the other"


def _scratch() -> Path:
    folder = BUILD / "lab"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _read_table(disk: Path) -> dict[str, list[dict[str, int]]]:
    table: dict[str, list[dict[str, int]]] = json.loads(run(["sfdisk", "--json", disk]))["partitiontable"]
    for key in ("device", "lastlba"):  # the file's name; the end moves with the disk's size
        table.pop(key, None)
    return table


def _read_partition(disk: Path, start: int, size: int, work: Path, left_out: Sequence[str]) -> Reading:
    words = ["blkid", "--probe", "--offset", str(start), "--size", str(size), "--output", "export", str(disk)]
    lines = [line for line in run(words, ok=(0, 2)).splitlines() if not line.startswith(("DEVNAME", "PART_ENTRY"))]
    kind = next((line[5:] for line in lines if line.startswith("TYPE=")), "")
    reading: Reading = {"blkid": "\n".join(sorted(lines))}
    if kind == "swap":
        return reading  # its content is left out; kind, label and UUID are in what blkid says
    image = work / "partition.img"
    image.unlink(missing_ok=True)
    copy_range(disk, start, size, image)
    try:
        if kind.startswith("ext"):
            reading |= _read_ext(image, work)
        elif kind == "vfat":
            reading |= _read_fat(image, work)
        elif kind == "ntfs":
            reading |= _read_ntfs(image, left_out)
        else:
            reading["raw bytes"] = _hash_file(image)
    finally:
        image.unlink()
    return reading


def _hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# --- ext2, ext3, ext4 through debugfs ---

_EXT_ENTRY = re.compile(r"^/(\d+)/(\d{6})/(\d+)/(\d+)/(.*?)/(\d*)/$", re.MULTILINE | re.DOTALL)
_EXT_ROOT = 2
# Where the blocks lie is the file system's business, and the inode's checksum covers that.
_EXT_PLACES = re.compile(r"^(EXTENTS:|BLOCKS:|\(.*|TOTAL:.*|Inode checksum:.*|Fragment:.*)$")


def _debugfs(image: Path, commands: Sequence[str]) -> Iterator[str]:
    """The answer to each command, in order. debugfs repeats every command before its answer."""
    text = run(["debugfs", "-f", "-", image], stdin=("\n".join(commands) + "\n").encode())
    answers = re.split(r"^debugfs: +(?=\S)", text, flags=re.MULTILINE)[1:]
    if len(answers) != len(commands):
        raise LabError(f"debugfs answered {len(answers)} of {len(commands)} commands about {image}.")
    for command, answer in zip(commands, answers, strict=True):
        yield answer.removeprefix(command).lstrip("\n")


def _read_ext(image: Path, work: Path) -> Reading:
    names, inodes = _ext_tree(image)
    reading: Reading = {f"name {path}": str(inode) for path, inode in names.items()}
    ordered = sorted(inodes)
    for inode, text in zip(ordered, _debugfs(image, [f"stat <{inode}>" for inode in ordered]), strict=True):
        kept = [line for line in text.splitlines() if not _EXT_PLACES.match(line)]
        reading[f"inode {inode}"] = "\n".join(kept)
    with_content = [inode for inode in ordered if inodes[inode].startswith(("10", "12"))]
    with tempfile.TemporaryDirectory(prefix="ext-", dir=work) as folder:
        for _ in _debugfs(image, [f"dump <{inode}> {folder}/{inode}" for inode in with_content]):
            pass
        for inode in with_content:
            path = Path(folder, str(inode))
            reading[f"content of inode {inode}"] = _hash_file(path) if path.exists() else "not readable"
    return reading


def _ext_tree(image: Path) -> tuple[dict[str, int], dict[int, str]]:
    """Every path with its inode, and every inode with its mode in octal."""
    names: dict[str, int] = {}
    inodes: dict[int, str] = {_EXT_ROOT: "040755"}
    level = {"": _EXT_ROOT}
    while level:
        deeper: dict[str, int] = {}
        for (path, _), text in zip(
            level.items(), _debugfs(image, [f"ls -p <{n}>" for n in level.values()]), strict=True
        ):
            for match in _EXT_ENTRY.finditer(text):
                inode, mode, name = int(match[1]), match[2], match[5]
                if name in (".", ".."):
                    continue
                names[f"{path}/{name}"] = inode
                inodes[inode] = mode
                if mode.startswith("04"):
                    deeper[f"{path}/{name}"] = inode
        level = deeper
    return names, inodes


# --- FAT through mtools ---


def _read_fat(image: Path, work: Path) -> Reading:
    listing = run(["mdir", "-i", image, "-/", "-a", "::/"], ok=(0, 1))
    reading: Reading = {"listing": "\n".join(line for line in listing.splitlines() if "bytes free" not in line)}
    reading["attributes"] = run(["mattrib", "-i", image, "-/", "::/"], ok=(0, 1))
    with tempfile.TemporaryDirectory(prefix="fat-", dir=work) as folder:
        run(["mcopy", "-s", "-n", "-m", "-i", image, "::/*", folder], ok=(0, 1))
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                name = path.relative_to(folder)
                reading[f"content of {name}"] = f"{_hash_file(path)} changed at {path.stat().st_mtime:.0f}"
    return reading


# --- NTFS through ntfsinfo and ntfscat ---

_NTFS_RECORD_BYTES = 1024
_NTFS_DATA = re.compile(r"^Dumping attribute \$DATA \(0x80\).*?(?=^Dumping attribute|\Z)", re.MULTILINE | re.DOTALL)
_NTFS_STREAM_NAME = re.compile(r"Attribute name:\s+'(.*)'")
_NTFS_FILE_NAME = re.compile(r"Filename:\s+'(.*)'")
_NTFS_PARENT_IS_ROOT = re.compile(r"Parent directory:\s+5 ")


def _read_ntfs(image: Path, left_out: Sequence[str]) -> Reading:
    size = len(_ntfscat(image, 0, ""))
    with ThreadPoolExecutor(2) as pool:
        parts = pool.map(lambda n: _read_ntfs_record(image, n, left_out), range(size // _NTFS_RECORD_BYTES))
        reading: Reading = {}
        for part in parts:
            reading |= part
    return reading


def _ntfscat(image: Path, record: int, stream: str) -> bytes:
    words = ["ntfscat", "-f", "-q", "-i", str(record), *(["-n", stream] if stream else []), str(image)]
    with tempfile.TemporaryFile(dir=image.parent) as out:
        done = subprocess.run(words, stdout=out, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            raise LabError(f"ntfscat, record {record} {stream}: {done.stderr.decode(errors='replace').strip()[-300:]}")
        out.seek(0)
        return out.read()


def _read_ntfs_record(image: Path, record: int, left_out: Sequence[str]) -> Reading:
    """One file record: all that ntfsinfo says about it, and the hash of each of its data streams."""
    info = run(["ntfsinfo", "-f", "-v", "-i", str(record), image], ok=(0, 1))
    if "Dumping Inode" not in info:  # never used
        return {}
    reading: Reading = {f"record {record}": info}
    name = match[1] if (match := _NTFS_FILE_NAME.search(info)) else ""
    skip = bool(_NTFS_PARENT_IS_ROOT.search(info)) and name in left_out
    for block in _NTFS_DATA.findall(info):
        stream = match[1] if (match := _NTFS_STREAM_NAME.search(block)) else ""
        if not skip and record != _NTFS_BAD_CLUSTERS:
            digest = hashlib.sha256(_ntfscat(image, record, stream)).hexdigest()
            reading[f"content of record {record} '{name}' stream '{stream}'"] = digest
    return reading
