"""TFTP against foreign clients and raw sockets: what it serves, what it refuses, and how it retries.

References: RFC 1350, RFC 2347, RFC 2348, RFC 2349.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config import Network, Paths, Settings, Tftp
from appliance.errors import ConfigError, Unavailable
from appliance.events import BootStage
from appliance.services import tftpd
from appliance.services.tftp_files import Library
from appliance.services.tftp_session import grant
from appliance.services.tftpd import LoaderServer
from appliance.store import Store
from tests.services.tftp_support import (
    GRUB_CFG,
    SHIM,
    SIZES,
    Client,
    RunningServer,
    ack,
    boot,
    client,
    error_code,
    make_boot_folder,
    options_of,
    pattern,
    quiet,
    request,
    running,
    running_server,
)

__all__ = ["boot", "client", "quiet", "running"]  # fixtures


# What it serves


@pytest.mark.parametrize("name", ["shimx64.efi", "grubx64.efi", "undionly.kpxe", "snponly.efi"])
def test_loaders_arrive_whole_whatever_their_last_block(client: Client, name: str) -> None:
    assert client.fetch(name.encode()) == pattern(name, SIZES[name])


@pytest.mark.parametrize(
    "name",
    [b"/shimx64.efi", b"./shimx64.efi", b"//shimx64.efi", b"\\shimx64.efi", b"shimx64.efi\xff", b"/./shimx64.efi"],
)
def test_names_as_firmware_spells_them_find_the_loader(client: Client, name: bytes) -> None:
    assert client.ask(request(name))[:4] == b"\0\3\0\1"


@pytest.mark.parametrize("name", [b"grub/grub.cfg", b"/grub/grub.cfg", b"./grub//grub.cfg"])
def test_grub_gets_its_first_configuration(client: Client, name: bytes) -> None:
    assert client.fetch(name) == GRUB_CFG


@pytest.mark.parametrize(
    "name",
    [
        b"vmlinuz",  # in the catalogue, but HTTP's
        b"catalog.json",
        b"grub/x86_64-efi/command.lst",
        b"grub/grub.cfg-01-52-54-00-aa-01-02",
        b"../boot/shimx64.efi",
        b"/etc/hostname",
        b"grub",
        b".",
        b"",
        b"caf\xc3\xa9.efi",
        b"\xff\xfe",
    ],
)
def test_anything_else_is_not_found(client: Client, name: bytes) -> None:
    assert error_code(client.ask(request(name))) == 1


def test_a_write_is_refused_and_leaves_nothing(client: Client, running: RunningServer) -> None:
    before = sorted(os.listdir(running.boot))
    assert error_code(client.ask(request(b"new.efi", opcode=2))) == 2
    assert error_code(client.ask(request(b"shimx64.efi", opcode=2))) == 2
    assert sorted(os.listdir(running.boot)) == before


def test_a_loader_that_is_a_symlink_is_not_served(tmp_path: Path) -> None:
    boot = make_boot_folder(tmp_path, {"shimx64.efi": 10})
    (boot / "shimx64.efi").rename(tmp_path / "outside")
    (boot / "shimx64.efi").symlink_to(tmp_path / "outside")
    with running_server(boot, Tftp(port=0)) as running, Client(running.address) as client:
        assert error_code(client.ask(request(b"shimx64.efi"))) == 1


def test_a_loader_that_is_not_what_its_catalogue_says_is_not_served_until_it_is(tmp_path: Path) -> None:
    boot = make_boot_folder(tmp_path, {"shimx64.efi": 3000})
    good = (boot / "shimx64.efi").read_bytes()
    with running_server(boot, Tftp(port=0)) as running, Client(running.address) as client:
        assert client.fetch(b"shimx64.efi") == good
        (boot / "shimx64.efi").write_bytes(good[:-1])
        assert error_code(client.ask(request(b"shimx64.efi"))) == 1
        (boot / "shimx64.efi").write_bytes(good)
        assert client.fetch(b"shimx64.efi") == good


@pytest.mark.parametrize("catalog", [b"", b"[1]", b"\xff", b'{"shimx64.efi": 3}', b'{"shimx64.efi": {}}'])
def test_a_broken_catalogue_serves_nothing_and_stops_nothing(tmp_path: Path, catalog: bytes) -> None:
    boot = make_boot_folder(tmp_path, {"shimx64.efi": 3000})
    (boot / "catalog.json").write_bytes(catalog)
    with running_server(boot, Tftp(port=0)) as running, Client(running.address) as client:
        assert error_code(client.ask(request(b"shimx64.efi"))) == 1
        assert client.fetch(b"grub/grub.cfg") == GRUB_CFG


def test_a_directory_in_place_of_a_loader_is_not_found(tmp_path: Path) -> None:
    boot = make_boot_folder(tmp_path, {"shimx64.efi": 10})
    (boot / "shimx64.efi").unlink()
    (boot / "shimx64.efi").mkdir()
    with running_server(boot, Tftp(port=0)) as running, Client(running.address) as client:
        assert error_code(client.ask(request(b"shimx64.efi"))) == 1


def test_netascii_is_translated(client: Client) -> None:
    assert client.fetch(b"grub/grub.cfg", mode=b"NetASCII") == GRUB_CFG.replace(b"\n", b"\r\n")


def test_mail_is_an_illegal_operation(client: Client) -> None:
    assert error_code(client.ask(request(b"shimx64.efi", mode=b"mail"))) == 4


# Options


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ([b"tsize", b"0"], {b"tsize": b"100000"}),
        ([b"TSize", b"0", b"BLKSIZE", b"1400"], {b"tsize": b"100000", b"blksize": b"1400"}),
        ([b"blksize", b"65464"], {b"blksize": b"1468"}),
        ([b"blksize", b"65535"], {b"blksize": b"1468"}),
        ([b"blksize", b"8"], {b"blksize": b"8"}),
        ([b"blksize", b"1000", b"windowsize", b"16", b"multicast", b""], {b"blksize": b"1000"}),
        ([b"timeout", b"1", b"blksize", b"7"], {b"timeout": b"1"}),
        ([b"timeout", b"0", b"tsize", b"x"], {b"tsize": b"100000"}),
    ],
)
def test_only_what_was_asked_is_answered(client: Client, asked: list[bytes], granted: dict[bytes, bytes]) -> None:
    assert options_of(client.ask(request(b"shimx64.efi", *asked))) == granted


@pytest.mark.parametrize(
    "asked", [[b"blksize", b"abc"], [b"windowsize", b"4"], [b"blksize", b"7"], [b"timeout", b"256"]]
)
def test_without_a_usable_option_the_first_block_comes_at_once(client: Client, asked: list[bytes]) -> None:
    assert client.ask(request(b"shimx64.efi", *asked)) == b"\0\3\0\1" + SHIM[:512]


def test_negotiated_block_size_is_used(client: Client) -> None:
    assert client.fetch(b"shimx64.efi", b"blksize", b"1468", blksize=1468) == SHIM


@given(st.dictionaries(st.sampled_from(["blksize", "tsize", "timeout", "x"]), st.text(max_size=12)))
@settings(max_examples=200)
def test_no_option_value_raises_or_is_granted_beyond_its_range(options: dict[str, str]) -> None:
    granted = grant(options, 1234, 1468)
    assert granted.keys() <= options.keys() & {"blksize", "tsize", "timeout"}
    assert 8 <= int(granted.get("blksize", "8")) <= 1468
    assert 1 <= int(granted.get("timeout", "1")) <= 255


# Retries


def test_a_lost_block_is_sent_again_and_the_transfer_goes_on(client: Client) -> None:
    first = client.ask(request(b"grubx64.efi"))
    assert client.receive() == first
    client.reply(ack(1))
    assert client.receive()[:4] == b"\0\3\0\2"


def test_a_client_that_falls_silent_is_given_up_after_the_retries(quiet: RunningServer) -> None:
    with Client(quiet.address) as client:
        first = client.ask(request(b"grubx64.efi"))
        assert [client.receive(), client.receive()] == [first, first]
        assert client.hears_nothing(0.8)
        assert quiet.server.transfers == 0


def test_the_timeout_that_the_client_asked_for_counts(client: Client) -> None:
    oack = client.ask(request(b"shimx64.efi", b"timeout", b"1"))
    began = time.monotonic()
    assert client.receive() == oack
    assert 0.9 <= time.monotonic() - began <= 2
    client.reply(b"\0\5\0\0enough\0")


def test_a_repeated_ack_is_not_answered_twice(client: Client) -> None:
    client.ask(request(b"grubx64.efi"))
    client.reply(ack(1))
    client.reply(ack(1))
    assert client.receive()[:4] == b"\0\3\0\2"
    assert client.hears_nothing(0.15)
    client.reply(b"\0\5\0\0enough\0")


def test_a_request_sent_twice_makes_one_transfer(quiet: RunningServer) -> None:
    with Client(quiet.address) as client:
        first = client.ask(request(b"grubx64.efi"))
        port = client.peer
        assert client.ask(request(b"grubx64.efi")) == first
        assert client.peer == port
        assert quiet.server.transfers == 1
        client.reply(b"\0\5\0\0enough\0")


def test_a_new_request_from_the_same_port_replaces_the_transfer(quiet: RunningServer) -> None:
    with Client(quiet.address) as client:
        oack = client.ask(request(b"grubx64.efi", b"tsize", b"0"))
        assert options_of(oack) == {b"tsize": b"1536"}
        assert client.ask(request(b"undionly.kpxe"))[4:] == pattern("undionly.kpxe", 1000)[:512]
        assert quiet.server.transfers == 1
        client.reply(b"\0\5\0\0enough\0")


def test_another_machine_cannot_acknowledge_for_the_client(client: Client, running: RunningServer) -> None:
    client.ask(request(b"grubx64.efi"))
    with Client(running.address) as stranger:
        stranger.peer = client.peer
        stranger.reply(ack(1))
        stranger.reply(b"\0\5\0\0die\0")
    client.reply(ack(1))
    assert client.receive()[:4] == b"\0\3\0\2"
    client.reply(b"\0\5\0\0enough\0")


def test_block_numbers_roll_over(tmp_path: Path) -> None:
    boot = make_boot_folder(tmp_path, {"shimx64.efi": 8 * 65540})
    with running_server(boot, Tftp(port=0)) as running, Client(running.address) as client:
        content = client.fetch(b"shimx64.efi", b"blksize", b"8", blksize=8)
    assert content == pattern("shimx64.efi", 8 * 65540)


# Foreign clients


def test_curl_fetches_a_loader(running: RunningServer, tmp_path: Path) -> None:
    url = f"tftp://127.0.0.1:{running.server.port}/shimx64.efi"
    for options in ([], ["--tftp-blksize", "1468"], ["--tftp-no-options"]):
        subprocess.run(["curl", "-sSf", *options, "-o", str(tmp_path / "got"), url], check=True, timeout=20)
        assert (tmp_path / "got").read_bytes() == SHIM


def test_curl_is_told_that_a_file_is_missing(running: RunningServer) -> None:
    url = f"tftp://127.0.0.1:{running.server.port}/nothing"
    assert subprocess.run(["curl", "-s", url], check=False, timeout=20).returncode == 68  # CURLE_TFTP_NOTFOUND


def test_curl_cannot_upload(running: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "evil").write_bytes(b"x" * 1000)
    url = f"tftp://127.0.0.1:{running.server.port}/evil"
    done = subprocess.run(["curl", "-s", "-T", str(tmp_path / "evil"), url], check=False, timeout=20)
    assert done.returncode == 69  # CURLE_TFTP_PERM
    assert not (running.boot / "evil").exists()


def test_tftp_hpa_fetches_a_loader_and_a_text(running: RunningServer, tmp_path: Path) -> None:
    port = str(running.server.port)
    for mode, name, content in (("octet", "shimx64.efi", SHIM), ("ascii", "grub/grub.cfg", GRUB_CFG)):
        target = tmp_path / mode
        command = ["tftp", "-m", mode, "127.0.0.1", port, "-c", "get", name, str(target)]
        subprocess.run(command, check=True, timeout=20, capture_output=True)
        assert target.read_bytes() == content


def test_a_hundred_clients_at_once_all_get_the_whole_file(running: RunningServer, tmp_path: Path) -> None:
    url = f"tftp://127.0.0.1:{running.server.port}/shimx64.efi"
    command = ["curl", "-sSf", "--tftp-blksize", "1468", url, "-o"]
    clients = [subprocess.Popen([*command, str(tmp_path / str(number))]) for number in range(100)]
    assert [client.wait(60) for client in clients] == [0] * 100
    assert all((tmp_path / str(number)).read_bytes() == SHIM for number in range(100))


# The service


class RecordingHosts:
    def __init__(self, fails: Exception | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.fails = fails

    def seen(self, mac: str, stage: BootStage, *, ip: str = "", detail: str = "") -> None:
        self.calls.append((mac, stage, ip, detail))
        if self.fails:
            raise self.fails

    def identify(self, macs: list[str], uuid: object) -> None:
        return None


class RecordingStore:
    def __init__(self, fails: Exception | None = None) -> None:
        self.hosts = RecordingHosts(fails)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("fails", [None, Unavailable("The store is gone."), ValueError("a defect")])
async def test_who_fetched_a_loader_is_recorded_and_the_store_may_fail(
    boot: Path, monkeypatch: pytest.MonkeyPatch, fails: Exception | None
) -> None:
    monkeypatch.setattr(tftpd, "mac_of", lambda address, store: "52:54:00:aa:01:02")
    store = RecordingStore(fails)
    port = free_port()
    config = Settings(paths=Paths(boot=boot), network=Network(("lo",)), tftp=Tftp(port=port))
    stop, is_ready = asyncio.Event(), asyncio.Event()
    service = asyncio.create_task(tftpd.serve(config, cast("Store", store), stop, ready=is_ready.set))
    await asyncio.wait_for(is_ready.wait(), 5)
    for _ in range(2):
        content = await asyncio.to_thread(fetch_twice, ("127.0.0.1", port))
    assert content == SHIM
    async with asyncio.timeout(5):
        while len(store.hosts.calls) < 2:
            await asyncio.sleep(0.01)
    stop.set()
    await asyncio.wait_for(service, 5)
    assert store.hosts.calls == [("52:54:00:aa:01:02", BootStage.LOADER, "127.0.0.1", "shimx64.efi")] * 2


def fetch_twice(address: tuple[str, int]) -> bytes:
    with Client(address) as client:
        client.fetch(b"grub/grub.cfg", b"blksize", b"1468", blksize=1468)
    with Client(address) as client:
        return client.fetch(b"shimx64.efi")


async def test_without_interfaces_it_refuses_to_start(boot: Path) -> None:
    never: Callable[[], None] = lambda: pytest.fail("ready")  # noqa: E731
    with pytest.raises(ConfigError, match=r"network\.interfaces"):
        await tftpd.serve(Settings(paths=Paths(boot=boot)), cast("Store", None), asyncio.Event(), ready=never)


def test_a_taken_port_is_named(boot: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        server = LoaderServer(Tftp(port=port), Library(boot, {}), ["lo"], lambda fetched: None)
        with pytest.raises(Unavailable, match=f"interface lo, port {port}"):
            server.open()


def test_an_interface_that_is_not_there_is_named(boot: Path) -> None:
    server = LoaderServer(Tftp(port=0), Library(boot, {}), ["nic7"], lambda fetched: None)
    with pytest.raises(Unavailable, match="interface nic7"):
        server.open()
