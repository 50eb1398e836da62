"""Which exports are wanted, what both back ends are told, and when a task counts as ready: without an NFS server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config import Network, Nfs, Paths, Settings
from appliance.engine.chunkstore import ChunkStore
from appliance.errors import ConfigError, Unavailable
from appliance.events import TaskKind, TaskState
from appliance.model import Task
from appliance.services import nfs_ganesha, nfs_kernel, nfsd
from appliance.services.nfs_exports import Export, wanted_exports
from appliance.services.nfs_kernel import KernelServer
from appliance.services.nfsd import Controller, choose_backend, folder_size
from appliance.store import Store

UID = 65600
PC1, PC2 = IPv4Address("10.20.5.1"), IPv4Address("10.20.5.2")
IMAGES = Path("/srv/diecast")


def task(number: int, kind: TaskKind, ip: str) -> Task:
    return Task(id=number, kind=kind, state=TaskState.RUNNING, image_name="win11", ip=ip)


# What is wanted


def test_without_tasks_nothing_is_exported() -> None:
    assert wanted_exports([], IMAGES, UID) == ()


def test_a_deploy_reads_chunks_and_a_capture_also_writes_its_own_folder() -> None:
    exports = wanted_exports([task(7, TaskKind.CAPTURE, str(PC1)), task(8, TaskKind.DEPLOY, str(PC2))], IMAGES, UID)
    assert exports == (
        Export(1, IMAGES / "chunks", "/chunks", (PC1, PC2), writable=False, uid=UID),
        Export(9, IMAGES / "staging/7", "/staging/7", (PC1,), writable=True, uid=UID),
    )


@pytest.mark.parametrize("ip", ["", "*", "10.20.5.0/24", "::1", "10.20.5.1, *"])
def test_a_task_without_an_address_gets_nothing(ip: str) -> None:
    assert wanted_exports([task(7, TaskKind.CAPTURE, ip)], IMAGES, UID) == ()


@given(st.lists(st.tuples(st.integers(1, 10**7), st.sampled_from(TaskKind), st.ip_addresses(v=4)), max_size=9))
def test_only_a_capture_writes_and_only_from_its_own_address(rows: list[tuple[int, TaskKind, IPv4Address]]) -> None:
    tasks = {number: task(number, kind, str(ip)) for number, kind, ip in rows}
    exports = wanted_exports(tasks.values(), IMAGES, UID)
    for export in exports:
        assert 1 <= export.id < 1 << 16
        if export.writable:
            owner = tasks[int(export.pseudo.removeprefix("/staging/"))]
            assert owner.kind is TaskKind.CAPTURE
            assert [str(client) for client in export.clients] == [owner.ip]


# What the back ends are told


EXPORTS = wanted_exports([task(7, TaskKind.CAPTURE, str(PC1)), task(8, TaskKind.DEPLOY, str(PC2))], IMAGES, UID)


def test_exports_of_the_kernel() -> None:
    ro = "(ro,no_subtree_check,sync,sec=sys,secure,all_squash,anonuid=65600,anongid=65600)"
    rw = "(rw,subtree_check,sync,sec=sys,secure,all_squash,anonuid=65600,anongid=65600)"
    assert nfs_kernel.render_exports(EXPORTS).splitlines()[1:] == [
        f"/srv/diecast/chunks 10.20.5.1{ro} 10.20.5.2{ro}",
        f"/srv/diecast/staging/7 10.20.5.1{rw}",
    ]


def test_a_path_cannot_add_a_client_to_the_kernels_exports() -> None:
    evil = replace(EXPORTS[0], path=Path('/srv/a *(rw)\n"/etc'), clients=(PC1,))
    (line,) = nfs_kernel.render_exports([evil]).splitlines()[1:]
    assert line.startswith(r"/srv/a\040*\050rw\051\012\042/etc 10.20.5.1(ro,")


def test_settings_of_the_kernel_carry_lease_and_grace() -> None:
    lines = nfs_kernel.render_settings(Nfs(), [PC1]).splitlines()
    assert {"lease-time=10", "grace-time=15", "vers3=n", "vers4.1=y", "vers4.2=n", "port=2049"} <= set(lines)
    assert lines[-1] == "host=10.20.5.1"


def test_the_kernel_is_restarted_for_new_settings_only_and_told_of_new_exports_only(tmp_path: Path) -> None:
    ran: list[Sequence[str]] = []
    files = {"exports_file": tmp_path / "exports.d/x", "settings_file": tmp_path / "nfs.conf.d/x"}
    server = KernelServer(Nfs(), IMAGES, [PC1], run=ran.append, **files)
    server.start(())
    server.apply(EXPORTS)
    server.apply(EXPORTS)
    server.stop()
    again = KernelServer(Nfs(), IMAGES, [PC1], run=ran.append, **files)
    again.start(EXPORTS)
    export = ["exportfs", "-ra"]
    restart, start = (["systemctl", verb, "nfs-server.service"] for verb in ("restart", "start"))
    assert ran == [restart, export, export, export, start, export]
    assert (tmp_path / "exports.d/x").read_text() == nfs_kernel.render_exports(EXPORTS)


def test_a_tool_that_fails_is_named_with_its_last_line() -> None:
    with pytest.raises(Unavailable, match="failed: exportfs: no such folder"):
        nfs_kernel.run_tool(["sh", "-c", "echo exportfs: no such folder >&2; exit 1"])


def test_exports_of_ganesha_name_each_client_and_squash_all() -> None:
    blocks = nfs_ganesha.render_exports(EXPORTS).split("EXPORT {")[1:]
    assert [line.strip() for line in blocks[1].splitlines() if line.strip()] == [
        "Export_Id = 9;",
        'Path = "/srv/diecast/staging/7";',
        'Pseudo = "/staging/7";',
        "FSAL { Name = VFS; }",
        "CLIENT {",
        "Clients = 10.20.5.1;",
        "Access_Type = RW;",
        "Squash = All;",
        "Anonymous_Uid = 65600;",
        "Anonymous_Gid = 65600;",
        "Protocols = 4;",
        "Transports = TCP;",
        "SecType = sys;",
        "}",
        "}",
    ]
    assert "Clients = 10.20.5.1, 10.20.5.2;" in blocks[0]
    assert "Access_Type = RO;" in blocks[0]


@pytest.mark.parametrize("path", ['/srv/"; }', "/srv/a\nb", "/srv/a\\"])
def test_ganesha_is_given_no_path_that_ends_its_quotes(path: str) -> None:
    with pytest.raises(Unavailable, match="cannot be exported"):
        nfs_ganesha.render_exports([replace(EXPORTS[0], path=Path(path))])


# The controller


class RecordingBackend:
    root = "/prefix"

    def __init__(self) -> None:
        self.exports: tuple[Export, ...] | None = None
        self.trouble: Unavailable | None = None
        self.before_apply: Callable[[], None] = lambda: None

    def start(self, exports: tuple[Export, ...]) -> None:
        self.apply(exports)

    def apply(self, exports: tuple[Export, ...]) -> None:
        self.before_apply()
        if self.trouble:
            raise self.trouble
        self.exports = exports

    def check(self) -> None: ...

    def stop(self) -> None:
        self.exports = None


class Box:
    """A controller on a real store and image store, with one PC `pc1`."""

    def __init__(self, folder: Path, store: Store) -> None:
        nfs = Nfs(staging_uid=os.getuid() or UID, staging_limit_mb=1)
        self.settings = Settings(paths=Paths(images=folder / "images"), nfs=nfs)
        self.store = store
        self.chunks = ChunkStore(folder / "images")
        self.backend = RecordingBackend()
        self.host = store.hosts.add("pc1", ["52:54:00:aa:01:01"])
        self.controller = self.new_controller()

    def new_controller(self) -> Controller:
        return Controller(self.settings, self.store, self.chunks, self.backend)

    def capture(self, ip: str = str(PC1)) -> Task:
        task = self.store.tasks.capture(self.host, "win11")
        return self.store.tasks.checked_in(task.id, ip, self.host.macs[0])[0]

    def staging(self, task: Task) -> Path:
        return self.chunks.staging / str(task.id)

    def ready(self, task: Task) -> str:
        return self.store.settings.get(f"nfs.ready.{task.id}")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Store.open(tmp_path / "store.sqlite") as store:
        yield Box(tmp_path, store)


def test_a_running_capture_gets_its_folder_its_exports_and_then_the_word(box: Box) -> None:
    box.controller.start()
    assert box.backend.exports == ()
    task = box.capture()
    told_before: list[str] = []
    box.backend.before_apply = lambda: told_before.append(box.ready(task))
    box.controller.round()
    status = box.staging(task).stat()
    assert (status.st_uid, status.st_mode & 0o777) == (box.settings.nfs.staging_uid, 0o700)
    assert box.backend.exports == wanted_exports([task], box.chunks.root, box.settings.nfs.staging_uid)
    assert told_before == [""]
    assert box.ready(task) == task.ip
    assert box.store.settings.get("nfs.root") == "/prefix"


def test_an_image_folder_behind_a_symbolic_link_is_exported_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    with Store.open(tmp_path / "store.sqlite") as store:
        box = Box(tmp_path / "link", store)
        box.controller.start()
        box.capture()
        box.controller.round()
    assert box.backend.exports
    assert all(export.path.is_relative_to(tmp_path / "disk") for export in box.backend.exports)


def test_nothing_is_ready_while_the_back_end_is_in_trouble(box: Box) -> None:
    box.controller.start()
    task = box.capture()
    box.backend.trouble = Unavailable("no.")
    for _ in range(2):
        with pytest.raises(Unavailable):
            box.controller.round()
        assert box.ready(task) == ""
    box.backend.trouble = None
    box.controller.round()
    assert box.ready(task) == task.ip


def test_a_pc_that_comes_back_with_another_address_loses_the_old_one_first(box: Box) -> None:
    task = box.capture()
    box.controller.start()
    box.store.tasks.checked_in(task.id, str(PC2), box.host.macs[0])
    seen: list[str] = []
    box.backend.before_apply = lambda: seen.append(box.ready(task))
    box.controller.round()
    assert seen == [""]
    assert box.ready(task) == str(PC2)
    assert box.backend.exports is not None
    assert {client for export in box.backend.exports for client in export.clients} == {PC2}


@pytest.mark.parametrize("end", [TaskState.FAILED, TaskState.CANCELLED])
def test_when_a_task_ends_its_exports_and_its_folder_are_gone(box: Box, end: TaskState) -> None:
    task = box.capture()
    box.controller.start()
    (box.staging(task) / "x.part").write_bytes(b"x")
    box.store.tasks.move(task.id, end)
    box.controller.round()
    assert box.backend.exports == ()
    assert not box.staging(task).exists()
    assert box.ready(task) == ""


def test_a_pc_that_restarts_loses_its_exports_after_a_while_and_keeps_what_it_has_staged(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = box.capture()
    box.controller.start()
    (box.staging(task) / "x.part").write_bytes(b"x")
    box.store.tasks.move(task.id, TaskState.BOOTING)
    exports = box.backend.exports
    box.controller.round()
    assert box.backend.exports == exports
    assert box.ready(task) == task.ip
    monkeypatch.setattr(nfsd, "LINGER_S", 0.0)
    box.controller.round()
    assert box.backend.exports == ()
    assert box.ready(task) == ""
    assert (box.staging(task) / "x.part").exists()
    box.store.tasks.cancel(task.id)
    box.controller.round()
    assert not box.staging(task).exists()


def test_after_a_crash_everything_is_as_the_tasks_need_it(box: Box) -> None:
    task = box.capture()
    box.controller.start()
    box.store.settings.set("nfs.ready.99", "10.20.5.9")
    (box.chunks.staging / "99").mkdir()
    box.backend.stop()
    box.new_controller().start()
    assert box.backend.exports == wanted_exports([task], box.chunks.root, box.settings.nfs.staging_uid)
    assert box.store.settings.all("nfs.ready.") == {f"nfs.ready.{task.id}": task.ip}
    assert os.listdir(box.chunks.staging) == [str(task.id)]


def test_a_staging_folder_over_its_limit_fails_the_task_and_is_withdrawn_in_one_round(box: Box) -> None:
    task = box.capture()
    box.controller.start()
    (box.staging(task) / "inner").mkdir()
    (box.staging(task) / "inner" / "hidden").write_bytes(bytes(1_100_000))
    box.controller.round()
    failed = box.store.tasks.get(task.id)
    assert failed.state is TaskState.FAILED
    assert "1000000 bytes are allowed" in failed.error
    assert "staging_limit_mb" in failed.remedy
    assert box.backend.exports == ()
    assert not box.staging(task).exists()


def test_a_staging_folder_full_of_names_is_over_its_limit(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nfsd, "MAX_FILES", 3)
    task = box.capture()
    box.controller.start()
    for number in range(4):
        (box.staging(task) / str(number)).touch()
    box.controller.round()
    assert "more than 3 files" in box.store.tasks.get(task.id).error


def test_stopping_withdraws_everything(box: Box) -> None:
    task = box.capture()
    box.controller.start()
    box.controller.stop()
    assert box.backend.exports is None
    assert box.ready(task) == ""


def test_folder_size_follows_no_links_and_counts_sparse_files_in_full(tmp_path: Path) -> None:
    folder = tmp_path / "staging"
    folder.mkdir()
    (folder / "loop").symlink_to(folder)
    (folder / "out").symlink_to("/usr")
    with (folder / "sparse").open("wb") as file:
        file.truncate(5_000_000)
    size, files = folder_size(folder)
    assert 5_000_000 <= size < 5_100_000
    assert files == 3
    assert folder_size(tmp_path / "nothing") == (0, 0)


# Choosing


def settings_for(backend: str) -> Settings:
    return Settings(network=Network(("lo",)), nfs=Nfs(backend=backend))


def test_auto_takes_the_kernels_server_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, kind in ((True, KernelServer), (False, nfs_ganesha.GaneshaServer)):
        monkeypatch.setattr(nfs_kernel, "is_there", lambda there=there: there)
        assert isinstance(choose_backend(settings_for("auto")), kind)


def test_where_the_units_sandbox_hides_the_modules_the_servers_own_unit_says_that_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/sbin/{program}")
    filesystems, modules, unit = tmp_path / "filesystems", tmp_path / "modules", tmp_path / "nfs-server.service"
    filesystems.write_text("nodev\tproc\n\text4\n")
    modules.mkdir()
    assert not nfs_kernel.is_there(filesystems, modules, unit)
    unit.touch()
    assert nfs_kernel.is_there(filesystems, modules, unit)


def test_a_machine_without_any_server_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nfs_kernel, "is_there", lambda: False)
    monkeypatch.setattr(nfs_ganesha, "is_there", lambda: False)
    with pytest.raises(Unavailable, match="Install nfs-kernel-server, or nfs-ganesha"):
        choose_backend(settings_for("auto"))


def test_without_interfaces_nfs_refuses_to_start() -> None:
    with pytest.raises(ConfigError, match=r"network\.interfaces"):
        choose_backend(Settings())


def test_an_interface_that_does_not_exist_is_named() -> None:
    with pytest.raises(Unavailable, match="nic7"):
        choose_backend(Settings(network=Network(("nic7",))))


def test_ganeshas_trouble_is_told_by_its_first_word_about_the_configuration(tmp_path: Path) -> None:
    server = nfs_ganesha.GaneshaServer(Nfs(), tmp_path, [PC1])
    server.folder.mkdir()
    prefix = "23/11/2026 05:10:36 : epoch 6b03cacb : vm : ganesha.nfsd-17514[main] "
    server.log.write_text(
        f"{prefix}main :MAIN :EVENT :ganesha.nfsd Starting: Ganesha Version 4.3\n"
        f"{prefix}config_errs_to_log :CONFIG :CRIT :Config File (./x.conf:4): No IP address found for 10.1.2.3\n"
        f"{prefix}config_errs_to_log :CONFIG :CRIT :Config File (./x.conf:2): Errors processing block\n"
        f"{prefix}main :NFS STARTUP :FATAL :Fatal errors.  Server exiting...\n"
    )
    assert server._last_words() == "Config File (./x.conf:4): No IP address found for 10.1.2.3"
    server.log.write_text(f"{prefix}a :DISP :CRIT :one\n{prefix}b :DISP :FATAL :two.\n{prefix}c :DISP :CRIT :three\n")
    assert server._last_words() == "two"
    server.log.unlink()
    assert server._last_words() == "it left no log"


@pytest.mark.parametrize(
    ("addresses", "bound"),
    [([PC1], "Bind_addr = 10.20.5.1;"), ([PC1, PC2], ""), ([], ""), ([IPv4Address("127.0.0.1")], "")],
)
def test_ganesha_listens_on_the_one_address_there_is(tmp_path: Path, addresses: list[IPv4Address], bound: str) -> None:
    server = nfs_ganesha.GaneshaServer(Nfs(), tmp_path, addresses)
    lines = [line.strip() for line in server._head.splitlines()]
    assert [line for line in lines if line.startswith("Bind_addr")] == ([bound] if bound else [])
    assert {"Lease_Lifetime = 10;", "Grace_Period = 15;", "Protocols = 4;", "Minor_Versions = 0, 1;"} <= set(lines)
