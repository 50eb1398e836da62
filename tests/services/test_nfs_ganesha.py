"""The NFS service with a real nfs-ganesha in a network of its own, seen by libnfs clients at two addresses.

The service runs as a process, as systemd runs it, so that it can be killed; the test plays the HTTP service and the
scheduler by what it writes to the store. All of it passes with ganesha 4.3 (Debian 12) and 6.5 (Debian 13).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.config import Nfs
from appliance.engine.chunkstore import ChunkStore
from appliance.errors import Unavailable
from appliance.events import TaskState
from appliance.model import Host, Task
from appliance.services.nfs_ganesha import GaneshaServer
from appliance.store import Store

pytestmark = [pytest.mark.netns, pytest.mark.timeout(120)]

SERVER = "10.83.0.1"
PCS = {"pc1": "10.83.0.11", "pc2": "10.83.0.12"}
UID = 65600
LIMIT_MB = 2
CHUNK = "ab" * 32

UNIT = Path(__file__).parents[2] / "systemd" / "diecast-nfs.service"

_numbers = itertools.count()


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def as_in_its_unit() -> list[str]:
    """The prefix of a command that leaves root the capabilities of the unit and no others."""
    line = next(line for line in UNIT.read_text().splitlines() if line.startswith("CapabilityBoundingSet="))
    names = [name.removeprefix("CAP_").lower() for name in line.partition("=")[2].split()]
    return ["setpriv", "--no-new-privs", f"--bounding-set=-all,+{',+'.join(names)}", "--"]


def runs(pid: int) -> bool:
    """Whether it is a ganesha and not only waits to be reaped: what outlived its parent is another's child."""
    try:
        name, state = Path(f"/proc/{pid}/stat").read_text().split()[1:3]
    except OSError:
        return False
    return "ganesha" in name and state != "Z"


class Lab:
    """A server's namespace with a bridge, and one namespace for each PC."""

    def __init__(self) -> None:
        self.name = f"nfs{os.getpid()}-{next(_numbers)}"
        for end in ("box", *PCS):
            ip("netns", "add", f"{self.name}-{end}")
        box = f"{self.name}-box"
        ip("-n", box, "link", "set", "lo", "up")
        ip("-n", box, "link", "add", "br0", "type", "bridge")
        ip("-n", box, "addr", "add", f"{SERVER}/24", "dev", "br0")
        ip("-n", box, "link", "set", "br0", "up")
        for pc, address in PCS.items():
            there = f"{self.name}-{pc}"
            ip("-n", box, "link", "add", pc, "type", "veth", "peer", "name", "eth0", "netns", there)
            ip("-n", box, "link", "set", pc, "master", "br0", "up")
            ip("-n", there, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", there, "link", "set", "eth0", "up")

    def close(self) -> None:
        for end in ("box", *PCS):
            subprocess.run(["ip", "netns", "delete", f"{self.name}-{end}"], check=False, capture_output=True)

    def within(self, end: str, *command: str) -> list[str]:
        return ["ip", "netns", "exec", f"{self.name}-{end}", *command]


class NfsBox:
    """The service in the lab, with its store and image store."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        folder.chmod(0o755)
        self.store = Store.open(folder / "state" / "diecast.sqlite")
        self.chunks = ChunkStore(folder / "images")
        path = self.chunks.path(bytes.fromhex(CHUNK))
        path.write_bytes(b"a chunk")
        self.config = folder / "diecast.toml"
        self.config.write_text(
            f'[paths]\nstate = "{folder}/state"\nimages = "{folder}/images"\nrun = "{folder}/run"\n'
            f'[network]\ninterfaces = ["br0"]\n[dhcp]\nmode = "proxy"\n'
            f'[nfs]\nbackend = "ganesha"\nstaging_uid = {UID}\nstaging_limit_mb = {LIMIT_MB}\n'
        )
        self.hosts = {pc: self.store.hosts.add(pc, [f"52:54:00:aa:01:{i:02x}"]) for i, pc in enumerate(PCS)}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        service = [sys.executable, "-m", "tests.services.run_service", str(self.config), "nfs"]
        command = self.lab.within("box", *as_in_its_unit(), *service)
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.wait_for(lambda: "nfs is ready" in self.log(), 40)

    def log(self) -> str:
        return (self.folder / "service.log").read_text()

    def kill9(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        (self.folder / "service.log").write_text("")

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def close(self) -> None:
        if self.process is not None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
            self.process.kill()
        with contextlib.suppress(OSError):
            if self.ganesha_runs():
                os.kill(self.ganesha_pid(), signal.SIGKILL)
        self.store.close()

    def ganesha_pid(self) -> int:
        return int((self.folder / "run/ganesha/ganesha.pid").read_text())

    def ganesha_runs(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            return runs(self.ganesha_pid())
        return False

    def run(self, host: Host) -> Task:
        task = self.store.tasks.capture(host, f"image-{host.name}")
        return self.store.tasks.checked_in(task.id, PCS[host.name], host.macs[0])[0]

    def capture(self, pc: str) -> Task:
        """A capture whose agent has checked in and may begin."""
        task = self.run(self.hosts[pc])
        self.wait_ready(task)
        return task

    def wait_ready(self, task: Task) -> None:
        self.wait_for(lambda: self.store.settings.get(f"nfs.ready.{task.id}") == task.ip, 40)

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process is None or self.process.poll() is None, f"the service ended:\n{self.log()}"
            assert time.monotonic() < deadline, f"not within {seconds} s; the service says:\n{self.log()}"
            time.sleep(0.05)

    def list(self, pc: str, export: str) -> list[str] | None:
        """The names in an export as `pc` sees them, None when it may not."""
        url = f"nfs://{SERVER}{export}?version=4"
        done = subprocess.run(
            self.lab.within(pc, "nfs-ls", url), capture_output=True, text=True, timeout=40, check=False
        )
        return [line.split()[-1] for line in done.stdout.splitlines()] if done.returncode == 0 else None

    def cat(self, pc: str, path: str) -> bytes:
        url = f"nfs://{SERVER}{path}?version=4"
        return subprocess.run(self.lab.within(pc, "nfs-cat", url), capture_output=True, timeout=40, check=True).stdout

    def write(self, pc: str, path: str) -> bool:
        (self.folder / "sent").write_bytes(b"some bytes")
        command = self.lab.within(pc, "nfs-cp", str(self.folder / "sent"), f"nfs://{SERVER}{path}?version=4")
        return subprocess.run(command, capture_output=True, timeout=40, check=False).returncode == 0


@pytest.fixture
def box(tmp_path: Path) -> Iterator[NfsBox]:
    lab = Lab()
    try:
        box = NfsBox(lab, tmp_path)
        try:
            box.start()
            yield box
        finally:
            box.close()
    finally:
        lab.close()


def test_a_capture_reads_chunks_and_writes_to_its_own_folder_only(box: NfsBox) -> None:
    assert box.list("pc1", "/chunks") is None
    task = box.capture("pc1")
    assert box.cat("pc1", f"/chunks/{CHUNK[:2]}/{CHUNK}") == b"a chunk"
    assert not box.write("pc1", "/chunks/new")
    assert box.write("pc1", f"/staging/{task.id}/new")
    status = (box.chunks.staging / str(task.id) / "new").stat()
    assert (status.st_uid, status.st_gid, status.st_size) == (UID, UID, 10)
    assert box.list("pc2", "/chunks") is None
    assert box.list("pc2", f"/staging/{task.id}") is None
    assert box.list("pc1", "/versions") is None


def test_exports_change_without_disturbing_a_client_at_work(box: NfsBox) -> None:
    big = os.urandom(1 << 20) * 200
    (box.chunks.chunks / "00" / "big").write_bytes(big)
    task1 = box.capture("pc1")
    command = box.lab.within("pc1", "nfs-cat", f"nfs://{SERVER}/chunks/00/big?version=4")
    with (box.folder / "got").open("wb") as target, subprocess.Popen(command, stdout=target) as reader:
        task2 = box.capture("pc2")
        box.store.tasks.cancel(task2.id)
        box.wait_for(lambda: box.list("pc2", "/chunks") is None, 10)
        assert reader.wait(60) == 0
    assert (box.folder / "got").read_bytes() == big
    assert box.list("pc1", f"/staging/{task1.id}") == []
    assert not (box.chunks.staging / str(task2.id)).exists()


def test_each_pc_sees_its_own_staging_folder(box: NfsBox) -> None:
    task1, task2 = box.capture("pc1"), box.capture("pc2")
    assert box.list("pc1", f"/staging/{task1.id}") == []
    assert box.list("pc2", f"/staging/{task2.id}") == []
    assert box.list("pc1", f"/staging/{task2.id}") is None
    assert box.list("pc2", f"/staging/{task1.id}") is None


def test_when_the_task_ends_the_pc_has_no_access_and_the_folder_is_gone(box: NfsBox) -> None:
    task = box.capture("pc1")
    assert box.write("pc1", f"/staging/{task.id}/x")
    box.store.tasks.move(task.id, TaskState.FAILED, error="The PC was switched off.")
    box.wait_for(lambda: not (box.chunks.staging / str(task.id)).exists(), 10)
    assert box.list("pc1", f"/staging/{task.id}") is None
    assert box.list("pc1", "/chunks") is None


def test_a_staging_folder_over_its_limit_fails_the_task_in_words(box: NfsBox) -> None:
    task = box.capture("pc1")
    # libnfs 4 writes no more than about a kilobyte at once; the size is what matters here, not who wrote it.
    (box.chunks.staging / str(task.id) / "much").write_bytes(bytes(LIMIT_MB * 10**6 + 1))
    box.wait_for(lambda: box.store.tasks.get(task.id).state is TaskState.FAILED, 10)
    assert f"{LIMIT_MB}000000 bytes are allowed" in box.store.tasks.get(task.id).error
    box.wait_for(lambda: box.list("pc1", "/chunks") is None, 10)


def test_after_kill_9_ganesha_is_taken_over_and_exports_are_what_tasks_need_now(box: NfsBox) -> None:
    task1, task2 = box.capture("pc1"), box.capture("pc2")
    assert box.write("pc1", f"/staging/{task1.id}/before")
    pid = box.ganesha_pid()
    box.kill9()
    assert box.list("pc1", f"/staging/{task1.id}") == ["before"]  # transfers go on meanwhile
    box.store.tasks.cancel(task2.id)
    box.start()
    box.wait_ready(task1)
    assert box.ganesha_pid() == pid
    assert box.list("pc1", f"/staging/{task1.id}") == ["before"]
    assert box.list("pc2", "/chunks") is None
    assert box.stop() == 0
    assert not runs(pid)


def test_a_ganesha_left_with_other_settings_is_replaced(box: NfsBox) -> None:
    task = box.capture("pc1")
    pid = box.ganesha_pid()
    box.kill9()
    box.config.write_text(box.config.read_text() + "lease_s = 11\n")
    box.start()
    box.wait_ready(task)
    assert box.ganesha_pid() != pid
    assert not runs(pid)
    assert box.list("pc1", f"/staging/{task.id}") == []


def test_a_ganesha_that_dies_is_started_again_with_the_same_exports(box: NfsBox) -> None:
    task = box.capture("pc1")
    pid = box.ganesha_pid()
    os.kill(pid, signal.SIGKILL)
    box.wait_for(lambda: box.ganesha_runs() and box.ganesha_pid() != pid, 40)
    box.wait_for(lambda: box.list("pc1", f"/staging/{task.id}") == [], 40)


def test_a_foreign_process_in_the_pid_file_is_left_alone(tmp_path: Path) -> None:
    server = GaneshaServer(Nfs(), tmp_path, [])
    server.folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(server.config)]) as foreign:
        server.pid_file.write_text(str(foreign.pid))
        assert server._open_leftover() == -1
        assert foreign.poll() is None
        foreign.kill()


def test_a_taken_port_is_told_in_ganeshas_own_words(box: NfsBox) -> None:
    command = [sys.executable, "-m", "tests.services.run_service", str(box.config), "nfs"]
    box.config.write_text(box.config.read_text().replace(f"{box.folder}/run", f"{box.folder}/run2"))
    done = subprocess.run(box.lab.within("box", *command), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "nfs-ganesha does not start" in done.stderr


def test_without_ganesha_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="apt-get install nfs-ganesha"):
        GaneshaServer(Nfs(), tmp_path, []).start(())
