"""What `diecast doctor` says about a box that lacks something, and about one that lacks nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.__main__ import main
from appliance.cli import checks
from appliance.cli.checks import BOOT_FILES, Finding, Level, network
from appliance.cli.context import Context
from appliance.events import BootStage
from appliance.services.dhcp_probe import OtherServer
from appliance.store import Store
from appliance.system import units
from tests.cli.conftest import Diecast


@pytest.fixture
def context(config: Path) -> Iterable[Context]:
    opened = Context(config, os.environ)
    yield opened
    opened.close()


def only(findings: Iterable[Finding]) -> Finding:
    (finding,) = findings
    return finding


def make_boot_files(folder: Path) -> None:
    folder.mkdir()
    catalog = {}
    for name in BOOT_FILES:
        content = name.encode() * 100
        (folder / name).write_bytes(content)
        catalog[name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (folder / "catalog.json").write_text(json.dumps(catalog))


def change(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def test_every_problem_and_warning_has_a_remedy_and_the_status_counts_problems(diecast: Diecast) -> None:
    said = diecast("doctor", "--json")
    assert said.status == 69, "the boot files are missing"
    for finding in said.json:
        assert finding["text"].endswith(".")
        assert finding["level"] == "ok" or finding["remedy"]
    assert {"settings", "network", "ports", "boot", "nfs", "store", "space", "dhcp"} <= {f["area"] for f in said.json}


def test_findings_are_readable_at_80_columns(diecast: Diecast) -> None:
    said = diecast("doctor")
    lines = said.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("FAIL  boot     There are no boot files") for line in lines)
    assert any(line.strip().startswith("-> Build them (make agent)") for line in lines)
    assert " problem" in lines[-1]


def test_bad_settings_are_the_only_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[dhcp]\nmode = 'sometimes'\n")
    assert main(["--config", str(path), "doctor", "--json"]) == 69
    (finding,) = json.loads(capsys.readouterr().out)
    assert "'dhcp.mode' is 'sometimes'" in finding["text"]


def test_boot_files_are_compared_with_their_catalogue(context: Context) -> None:
    boot = context.settings.paths.boot
    make_boot_files(boot)
    assert only(checks.check_boot_files(context)).level is Level.OK
    (boot / "vmlinuz").write_bytes(b"other")
    finding = only(checks.check_boot_files(context))
    assert (finding.level, "vmlinuz has SHA-256" in finding.text) == (Level.PROBLEM, True)
    (boot / "vmlinuz").unlink()
    assert "vmlinuz cannot be read" in only(checks.check_boot_files(context)).text
    (boot / "catalog.json").write_text("{}")
    assert len(list(checks.check_boot_files(context))) == len(BOOT_FILES)
    (boot / "catalog.json").write_text("[nonsense")
    assert "cannot be read" in only(checks.check_boot_files(context)).text


def test_a_missing_interface_and_one_outside_every_subnet_are_told_apart(context: Context, config: Path) -> None:
    assert only(checks.check_interfaces(context)) == Finding(Level.OK, "network", "Interface lo has 127.0.0.1/8.")
    change(config, '"127.0.0.0/8"\nrange_first = "127.0.0.10"\nrange_last = "127.0.0.20"', '"10.20.4.0/22"')
    other = Context(config, os.environ)
    assert only(checks.check_interfaces(other)).level is Level.WARNING
    change(config, '["lo"]', '["lo", "nowhere0"]')
    finding = list(checks.check_interfaces(Context(config, os.environ)))[1]
    assert (finding.level, finding.text) == (Level.PROBLEM, "There is no interface nowhere0.")
    change(config, '["lo", "nowhere0"]', "[]")
    assert "No interface is chosen" in only(checks.check_interfaces(Context(config, os.environ))).text


def test_a_port_taken_by_another_program_is_a_problem_that_names_it(config: Path) -> None:
    with socket.socket() as taken, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        datagrams.bind(("127.0.0.1", 0))
        http, tftp = taken.getsockname()[1], datagrams.getsockname()[1]
        config.write_text(config.read_text() + f"[http]\nport = {http}\n[tftp]\nport = {tftp}\n")
        findings = {finding.text.split(" ")[0]: finding for finding in checks.check_ports(Context(config, os.environ))}
    for name, port in (("HTTP", f"TCP port {http}"), ("TFTP", f"UDP port {tftp}")):
        assert findings[name].level is Level.PROBLEM
        assert port in findings[name].text
        assert f"process {os.getpid()}" in findings[name].text
    assert findings["NFS"].level is Level.OK


def test_our_own_services_on_a_port_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    class OurProcess:
        def __init__(self, pid: int) -> None:
            self.pid = pid

        def name(self) -> str:
            return "python3" if self.pid == 7 else "ganesha.nfsd"

        def cmdline(self) -> list[str]:
            return ["python3", "/opt/diecast/bin/diecast", "serve", "http"] if self.pid == 7 else ["ganesha.nfsd"]

    monkeypatch.setattr("psutil.Process", OurProcess)
    assert network._port("HTTP", "TCP", 80, {7}).text == "HTTP (TCP port 80): served by python3 (process 7)."
    assert network._port("NFS", "TCP", 2049, {8}).level is Level.OK
    assert network._port("HTTP", "TCP", 80, {8}).level is Level.PROBLEM
    assert network._port("NFS", "TCP", 2049, {None}).level is Level.OK
    assert network._port("HTTP", "TCP", 80, {None}).level is Level.PROBLEM


def test_other_dhcp_servers_are_a_warning_in_full_mode_and_expected_in_proxy_mode(
    context: Context, config: Path, store: Store
) -> None:
    assert only(checks.check_other_servers(context)).text == "No other DHCP server was heard in the last day."
    store.servers.heard("10.20.4.2", "eth0", now=datetime.now(UTC) - timedelta(days=2))
    assert only(checks.check_other_servers(context)).level is Level.OK
    store.servers.heard("10.20.4.1", "eth0")
    finding = only(checks.check_other_servers(context))
    assert (finding.level, "10.20.4.1, answered on eth0" in finding.text) == (Level.WARNING, True)
    change(config, "[network]", '[dhcp]\nmode = "proxy"\n[network]')
    proxy = Context(config, os.environ)
    assert only(checks.check_other_servers(proxy)).level is Level.OK
    proxy.close()


def test_a_proxy_that_hears_no_server_is_warned_of(config: Path) -> None:
    change(config, "[network]", '[dhcp]\nmode = "proxy"\n[network]')
    context = Context(config, os.environ)
    assert "PCs will get no address" in only(checks.check_other_servers(context)).text
    context.close()


def test_pcs_without_an_agent_for_them_are_named(context: Context, store: Store) -> None:
    store.hosts.seen("52:54:00:00:00:07", BootStage.DHCP, arch=11)
    store.hosts.seen("52:54:00:00:00:08", BootStage.DHCP, arch=7)
    finding = only(checks.check_architectures(context))
    assert finding.level is Level.WARNING
    assert "52:54:00:00:00:07 asked to boot as 64-bit ARM UEFI (architecture 11)" in finding.text


def test_a_disk_without_room_is_a_problem(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {finding.level for finding in checks.check_space(context)} <= {Level.OK, Level.WARNING}
    monkeypatch.setattr("appliance.system.space.shutil.disk_usage", lambda path: _Usage(10**12, 10**12 - 10**8, 10**8))
    assert all(finding.level is Level.PROBLEM for finding in checks.check_space(context))
    monkeypatch.setattr(
        "appliance.system.space.shutil.disk_usage", lambda path: _Usage(10**12, 95 * 10**10, 5 * 10**10)
    )
    assert all(finding.level is Level.WARNING for finding in checks.check_space(context))


@dataclasses.dataclass(frozen=True, slots=True)
class _Usage:
    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    ("backend", "kernel", "ganesha", "level"),
    [
        ("auto", True, False, Level.OK),
        ("auto", False, True, Level.OK),
        ("auto", False, False, Level.PROBLEM),
        ("kernel", False, True, Level.PROBLEM),
        ("ganesha", True, False, Level.PROBLEM),
        ("ganesha", False, True, Level.OK),
    ],
)
def test_the_nfs_back_end_that_was_chosen_must_be_there(
    config: Path, monkeypatch: pytest.MonkeyPatch, backend: str, kernel: bool, ganesha: bool, level: Level
) -> None:
    config.write_text(config.read_text() + f'[nfs]\nbackend = "{backend}"\n')
    monkeypatch.setattr("appliance.services.nfs_kernel.is_there", lambda: kernel)
    monkeypatch.setattr("appliance.services.nfs_ganesha.is_there", lambda: ganesha)
    assert only(checks.check_nfs(Context(config, os.environ))).level is level


def test_a_store_that_does_not_open_is_a_finding_and_the_rest_is_still_checked(diecast: Diecast, config: Path) -> None:
    (config.parent / "state").mkdir()
    (config.parent / "state" / "diecast.sqlite").write_bytes(b"no database" * 500)
    findings = diecast("doctor", "--json").json
    assert [f["text"] for f in findings if f["area"] == "store"] == [
        f"The store {config.parent}/state/diecast.sqlite is not an SQLite database."
    ]
    assert any(f["area"] == "space" for f in findings)


class Heard:
    """Stands for a probe that these servers answered."""

    def __init__(self, *servers: OtherServer) -> None:
        self.servers = list(servers)

    def __call__(self, links: object, **_options: object) -> Heard:
        return self

    async def look(self) -> list[OtherServer]:
        return self.servers


def listen_to(monkeypatch: pytest.MonkeyPatch, *servers: OtherServer) -> None:
    monkeypatch.setattr("appliance.services.dhcp_probe.ServerProbe", Heard(*servers))


def test_listening_names_another_server_and_puts_it_on_record(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen_to(monkeypatch, OtherServer(IPv4Address("10.20.4.254"), "lo", True, "offers 10.20.4.77"))
    finding = only(checks.check_listening(context, "lo"))
    assert finding.level is Level.WARNING
    assert "A DHCP server, 10.20.4.254, answers on lo: offers 10.20.4.77." in finding.text
    assert "proxy" in finding.remedy
    assert [(server.ip, server.interface) for server in context.store.servers.list()] == [("10.20.4.254", "lo")]


def test_listening_says_that_nobody_answers(diecast: Diecast, monkeypatch: pytest.MonkeyPatch) -> None:
    listen_to(monkeypatch)
    result = diecast("doctor", "--listen", "lo", "--json")
    assert json.loads(result.out) == [
        {"level": "ok", "area": "dhcp", "text": "No other DHCP server answers on lo.", "remedy": ""}
    ]


def test_listening_on_an_interface_that_is_not_there_is_a_problem(context: Context) -> None:
    finding = only(checks.check_listening(context, "nosuch0"))
    assert finding.level is Level.PROBLEM
    assert "nosuch0 does not exist" in finding.text


@pytest.mark.parametrize(("runs", "level"), [(True, Level.OK), (False, Level.PROBLEM)], ids=["ours", "a stranger's"])
def test_a_port_whose_process_is_hidden_is_ours_when_systemd_runs_its_unit(
    monkeypatch: pytest.MonkeyPatch, runs: bool, level: Level
) -> None:
    monkeypatch.setattr(units, "systemd_runs", lambda: True)
    monkeypatch.setattr(units, "is_active", lambda unit: runs and unit == "diecast-tftp.service")
    finding = network._port("TFTP", "UDP", 69, {None})
    assert finding.level is level
    assert ("diecast-tftp.service" in finding.text) is runs
