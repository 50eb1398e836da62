"""TFTP under fire: datagrams that end other servers, random ones, floods. It goes on serving and leaks nothing."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.config import Tftp
from appliance.services.tftp_files import plain_name
from appliance.services.tftp_session import MalformedRequest, Request
from tests.services.tftp_support import (
    Client,
    RunningServer,
    ack,
    boot,
    client,
    pattern,
    request,
    running,
    running_server,
)

__all__ = ["boot", "client", "running"]  # fixtures

KILLERS = {
    "blksize is no number": [request(b"shimx64.efi", b"blksize", b"abc")],
    "name is not ASCII": [request(b"caf\xe9.efi")],
    "ACK of three bytes": [request(b"shimx64.efi"), b"\0\4\0"],
    "option without end": [request(b"shimx64.efi") + b"blksize\0001468"],
    "a directory": [request(b"grub")],
    "block larger than UDP": [request(b"shimx64.efi", b"blksize", b"65535"), ack(0)],
    "generated content, fetched whole": [request(b"grub/grub.cfg"), ack(1)],
}


@pytest.mark.parametrize("killer", KILLERS)
def test_the_seven_datagrams_that_end_plain_tftpy_do_no_harm(
    client: Client, running: RunningServer, killer: str
) -> None:
    first, *rest = KILLERS[killer]
    client.sock.sendto(first, client.server)
    for datagram in rest:
        client.receive()
        client.reply(datagram)
    client.sock.sendto(b"\0\4\0", client.server)
    time.sleep(0.05)
    with Client(running.address) as other:
        assert other.fetch(b"undionly.kpxe") == pattern("undionly.kpxe", 1000)


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORD = st.binary(max_size=40).filter(lambda word: b"\0" not in word)


@given(st.lists(st.binary(max_size=600), min_size=1, max_size=5))
@FUZZ
def test_random_datagrams_do_not_stop_the_server(running: RunningServer, datagrams: list[bytes]) -> None:
    with Client(running.address) as client:
        for datagram in datagrams:
            client.sock.sendto(datagram, running.address)
        with Client(running.address) as other:
            assert other.fetch(b"undionly.kpxe") == pattern("undionly.kpxe", 1000)


@given(
    st.sampled_from([b"shimx64.efi", b"grub/grub.cfg", b"nothing"]) | WORD,
    st.lists(st.sampled_from([b"blksize", b"tsize", b"timeout"]) | WORD, max_size=6),
    st.lists(st.binary(max_size=20) | st.integers(0, 3).map(ack), max_size=4),
)
@FUZZ
@pytest.mark.lengthy
def test_random_requests_and_answers_do_not_stop_the_server(
    running: RunningServer, name: bytes, options: list[bytes], answers: list[bytes]
) -> None:
    with Client(running.address) as client:
        client.sock.settimeout(0.05)
        client.sock.sendto(request(name, *options), running.address)
        try:
            for answer in answers:
                client.receive()
                client.reply(answer)
        except OSError:  # nothing comes back to what is no request
            pass
        with Client(running.address) as other:
            assert other.fetch(b"undionly.kpxe") == pattern("undionly.kpxe", 1000)


@given(st.binary(max_size=600))
@settings(max_examples=300)
def test_parsing_a_request_raises_nothing_but_malformed(datagram: bytes) -> None:
    try:
        parsed = Request.parse(datagram)
    except MalformedRequest:
        return
    assert datagram[2:].startswith(parsed.name + b"\0")


@given(st.binary(max_size=100))
def test_a_plain_name_has_no_empty_part_and_no_dot(name: bytes) -> None:
    assert not {"", "."} & set(plain_name(name).split("/")) or plain_name(name) == ""


def test_errors_and_data_on_the_request_port_are_not_answered(client: Client) -> None:
    """Two servers that answer each other's errors would never end."""
    for datagram in (b"\0\5\0\1no\0", b"\0\3\0\1data", b"\0\6blksize\0512\0", ack(1), b"\0\7", b"", b"\0"):
        client.sock.sendto(datagram, client.server)
    assert client.hears_nothing(0.2)


def test_a_flood_of_forged_requests_leaves_room_for_real_clients(boot: Path) -> None:
    with running_server(boot, Tftp(port=0, max_clients=20, timeout_s=5)) as running:
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(60)]
        try:
            for sock in sockets:
                sock.sendto(request(b"shimx64.efi"), running.address)
            with Client(running.address) as client:
                assert client.fetch(b"undionly.kpxe") == pattern("undionly.kpxe", 1000)
            assert running.server.transfers <= 20
        finally:
            for sock in sockets:
                sock.close()


def test_when_all_transfers_are_taken_by_clients_at_work_another_waits(boot: Path) -> None:
    with (
        running_server(boot, Tftp(port=0, max_clients=1, timeout_s=5)) as running,
        Client(running.address) as first,
        Client(running.address) as second,
    ):
        first.ask(request(b"shimx64.efi"))
        first.reply(ack(1))
        first.receive()
        second.sock.sendto(request(b"shimx64.efi"), running.address)
        assert second.hears_nothing(0.2)
        first.reply(b"\0\5\0\0enough\0")
        assert second.ask(request(b"shimx64.efi"))[:4] == b"\0\3\0\1"


def test_sessions_leave_no_open_files(boot: Path) -> None:
    with running_server(boot, Tftp(port=0, timeout_s=0.1, retries=0)) as running:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            with Client(running.address) as client:
                client.fetch(b"undionly.kpxe")
                client.ask(request(b"nothing"))
                client.ask(request(b"shimx64.efi"))
        time.sleep(0.5)
        assert len(os.listdir("/proc/self/fd")) <= before
