"""Root's part of taking another disk for images: a real block device, real XFS, mounts in a namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.system import image_disk, mailbox

pytestmark = pytest.mark.netns
REPOSITORY = Path(__file__).parents[2]
SIZE = 12_000_000_000  # of a file with holes
# What systemd does is played: it notes what is stopped and started, and mounts where the unit would.
ROOT = """
import json, sys
from pathlib import Path
from appliance.errors import Unavailable
from appliance.system import image_disk_apply
run, images, log, listed, place = map(Path, sys.argv[1:])
def note(*words):
    with log.open("a") as out: out.write(" ".join(map(str, words)) + "\\n")
class Machine(image_disk_apply.Machine):
    place = place
    def listed(self): return json.loads(listed.read_text())
    def users(self): return ["diecast.target"]
    def stop(self, names): note("stop", *names); (images / "late").write_text("written while it was copied")
    def start(self, names): note("start", *names)
    def switch(self, number):
        note("switch", number)
        if BROKEN: raise Unavailable("systemctl: a job failed.")
        self.run("mount", "UUID=" + number, str(self.images))
        note("there", *sorted(p.name for p in images.iterdir()))
        note("late", (images / "late").read_text())
        note("owner", (images / "chunks/ab/x").stat().st_uid if (images / "chunks/ab/x").exists() else "-")
        self.run("umount", str(self.images))
BROKEN = {broken}
image_disk_apply.{verb}(run, Machine(images))
"""


@dataclass
class Disks:
    """A disk that may be taken, and a folder with images."""

    device: str
    folder: Path

    @property
    def name(self) -> str:
        return self.device.removeprefix("/dev/")

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def log(self) -> list[str]:
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    def node(self, **more: Any) -> dict[str, Any]:
        return {"name": self.name, "type": "disk", "size": SIZE, "serial": "S1", "mountpoints": [None], **more}

    def wish(self, *contents: str, **more: Any) -> None:
        """As the console writes it after `contents` were shown."""
        disk = image_disk.Disk(self.name, SIZE, serial="S1", contents=contents)
        plain = {"id": "1" * 16, "disk": disk.name, "identity": disk.identity, "contents": list(contents)}
        mailbox.wish(self.folder, image_disk.NAME, plain | more)

    def root(self, node: dict[str, Any], *, broken: bool = False, verb: str = "carry_out") -> image_disk.State:
        """Root's process, in a mount namespace, with the capabilities that its unit has."""
        (self.folder / "lsblk").write_text(json.dumps({"blockdevices": [node]}))
        bounds = "-all,+sys_admin,+chown,+fowner,+dac_override"
        words = ["unshare", "--mount", "setpriv", "--no-new-privs", f"--bounding-set={bounds}", "--inh-caps=-all"]
        code = textwrap.dedent(ROOT).replace("{broken}", str(broken)).replace("{verb}", verb)
        folders = [self.folder / name for name in ("images", "log", "lsblk", "new")]
        environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
        arguments = [sys.executable, "-c", code, str(self.folder), *map(str, folders)]
        self.done = subprocess.run([*words, *arguments], capture_output=True, text=True, env=environ, check=False)
        state = image_disk.state(self.folder)
        assert state is not None, self.done.stderr
        return state

    def probe(self) -> str:
        words = ["blkid", "-p", "-o", "export", self.device]
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[Disks]:
    file = tmp_path / "disk.img"
    with file.open("wb") as out:
        out.truncate(SIZE)
    device = subprocess.run(
        ["losetup", "--find", "--show", str(file)], check=True, capture_output=True, text=True
    ).stdout.strip()
    found = Disks(device, tmp_path)
    (tmp_path / mailbox.WISHES).mkdir()
    found.images.mkdir()
    yield found
    subprocess.run(["losetup", "--detach", device], check=True)


def put_images(folder: Path) -> None:
    (folder / "chunks" / "ab").mkdir(parents=True)
    for number in range(20):
        (folder / "chunks" / "ab" / ("x" if number == 0 else f"c{number}")).write_bytes(os.urandom(70_000))
    os.chown(folder / "chunks" / "ab" / "x", 65534, 65534)
    (folder / "link").symlink_to("/etc/passwd")


def test_an_empty_disk_is_formatted_gets_the_images_and_takes_their_place(disks: Disks) -> None:
    put_images(disks.images)
    disks.wish()
    state = disks.root(disks.node())
    assert state.stage == image_disk.DONE, (state, disks.done.stderr)
    assert "those that were there have been moved" in state.text
    probe = disks.probe()
    assert "TYPE=xfs" in probe
    assert f"LABEL={image_disk.LABEL}" in probe
    number = next(line for line in probe.splitlines() if line.startswith("UUID=")).removeprefix("UUID=")
    assert disks.log == [
        "stop diecast.target",
        f"switch {number}",
        "there chunks late",  # no link, and what was written after the first copy
        "late written while it was copied",
        "owner 65534",
        "start diecast.target",
    ]
    assert (disks.images / "chunks/ab/x").exists()  # the old ones stay


def test_a_box_without_images_says_nothing_of_moving_them(disks: Disks) -> None:
    disks.wish()
    assert disks.root(disks.node()).text == f"Images lie on {disks.name} from now on."


def test_what_was_shown_to_be_on_the_disk_is_erased_and_only_that(disks: Disks) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-L", "old", disks.device], check=True, capture_output=True)
    node = disks.node(fstype="ext4", label="old")
    disks.wish()  # shown as empty
    state = disks.root(node)
    assert (state.stage, state.text) == (image_disk.FAILED, f"{disks.name} does not hold what was shown.")
    # A disk of which the list says nothing, and blkid does.
    disks.wish(id="2" * 16)
    assert "does not hold what was shown" in disks.root(disks.node()).text
    assert "LABEL=old" in disks.probe()
    disks.wish(f"{disks.name}: ext4 old", id="3" * 16)
    assert disks.root(node).stage == image_disk.DONE
    assert "TYPE=xfs" in disks.probe()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"mountpoints": ["/"]}, "holds the system."),
        ({"serial": "S2"}, "is not there any more."),
        ({"size": SIZE + 512}, "is not there any more."),
        ({"ro": True}, "is read-only."),
        ({"fstype": "LVM2_member"}, "is a part of LVM"),
    ],
)
def test_root_judges_the_disk_again(disks: Disks, more: dict[str, Any], said: str) -> None:
    disks.wish()
    state = disks.root(disks.node(**more))
    assert state.stage == image_disk.FAILED
    assert said in state.text
    assert disks.probe() == ""


def test_the_kernel_is_asked_whether_anybody_uses_it(disks: Disks) -> None:
    holder = os.open(disks.device, os.O_RDONLY | os.O_EXCL)
    try:
        disks.wish()
        state = disks.root(disks.node())
    finally:
        os.close(holder)
    assert "cannot be had for ourselves: Device or resource busy." in state.text
    assert disks.probe() == ""


def test_a_switch_that_fails_leaves_the_images_where_they_were_and_starts_the_services(disks: Disks) -> None:
    put_images(disks.images)
    disks.wish()
    state = disks.root(disks.node(), broken=True)
    assert (state.stage, state.text) == (image_disk.FAILED, "systemctl: a job failed.")
    assert disks.log[-1] == "start diecast.target"
    assert (disks.images / "chunks/ab/x").exists()


def test_after_a_kill_the_units_last_command_starts_what_was_stopped(disks: Disks) -> None:
    told = {"id": "1" * 16, "disk": disks.name, "stage": image_disk.SWITCHING, "text": "", "hint": ""}
    numbers = {"done_bytes": 1, "total_bytes": 2, "at_s": mailbox.now_s()}
    mailbox.report(disks.folder, image_disk.NAME, told | numbers)
    mailbox.report(disks.folder, "image-disk-stopped", {"units": ["diecast.target", "sshd.service"]})
    state = disks.root(disks.node(), verb="settle")
    assert disks.log == ["start diecast.target"]
    assert "was interrupted" in state.text
    disks.root(disks.node(), verb="settle")
    assert len(disks.log) == 1


def test_a_wish_is_carried_out_once(disks: Disks) -> None:
    disks.wish()
    first = disks.root(disks.node())
    assert disks.root(disks.node()) == first
