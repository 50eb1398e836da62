"""Whatever is sent to the HTTP service, it answers in its own words or closes, and goes on serving."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.config import Http, Network
from appliance.errors import ApplianceError, ConfigError, Unavailable
from appliance.services import httpd
from appliance.services.agent_calls import _CALLS, Caller, check_in
from appliance.services.http_box import Box
from appliance.services.httpd import make_box
from appliance.services.image_calls import manifest, missing
from appliance.store import Store
from appliance.wire import agentapi as api
from tests.services.http_support import (
    MAC,
    Site,
    boot_files,
    is_alive,
    pc_at,
    raw_exchange,
    running,
    settings_in,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted({"phase", "ok", "lines", "name", "macs", "boot_mac", "uuid", "api_version", "disks", "nics", "details"})
BODIES = (
    st.binary(max_size=400)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5).map(lambda value: json.dumps(value).encode())
)
TOKEN_CALLS = [*(call for _, _, call in _CALLS), missing, manifest]
QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    configured = settings_in(tmp_path)
    with Store.open(configured.paths.database) as store:
        yield make_box(configured, store)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    configured = settings_in(tmp_path)
    boot_files(configured)
    async with running(configured) as found:
        yield found


@pytest.mark.parametrize("call", TOKEN_CALLS, ids=lambda call: call.__name__)
def test_no_body_makes_a_call_fail_other_than_in_words(box: Box, call: Any) -> None:
    task = box.store.tasks.capture(box.store.hosts.add("LAB1-01", [MAC]), "win11")

    @given(body=BODIES, with_task=st.booleans())
    @QUICK
    def send(body: bytes, with_task: bool) -> None:
        now = box.store.tasks.get(task.id)
        if not now.state.is_final:
            box.store.tasks.checked_in(task.id, "127.0.0.1", MAC)
        caller = Caller(MAC, "127.0.0.1", "127.0.0.1", task.id if with_task else None)
        with suppress(ApplianceError):
            assert call(box, caller, body).status in (200, 204)

    send()


@given(body=BODIES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_check_in_fails_other_than_in_words(box: Box, body: bytes) -> None:
    with suppress(ApplianceError):
        assert check_in(box, api.CheckIn.from_json(body), "127.0.0.1").token


@given(
    macs=st.lists(st.text("0123456789abcdef:-", max_size=20), max_size=70),
    mac=st.integers(0, 2**48 - 1),
    uuid=st.text(max_size=40),
    purpose=st.text(max_size=10) | st.sampled_from(["task", "register", "deploy-new"]),
    firmware=st.text(max_size=8),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_marks_of_a_pc_are_taken_or_refused(
    box: Box, macs: list[str], mac: int, uuid: str, purpose: str, firmware: str
) -> None:
    who = api.CheckIn(macs, f"{mac:012x}", uuid, firmware, purpose=purpose)
    with suppress(ApplianceError):
        assert check_in(box, who, "127.0.0.1").token


async def test_random_bodies_over_http_get_only_answers_of_ours(site: Site) -> None:
    bodies = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"ok": 1}',
        b"[" * 100_000,
        b'{"phase": "' + b"x" * 9000 + b'"}',
    ]
    task = site.store.tasks.capture(site.host(), "win11")
    async with pc_at(site) as pc:
        await pc.check_in()
        for body in bodies:
            for path in ("/checkin", "/inventory", "/register", "/progress", "/log", "/result", "/chunks/missing"):
                answer = await pc.agent("POST", path, body)
                assert answer.status in (200, 401, 409, 422), (path, body[:20], answer.text)
                assert "Traceback" not in answer.text
                if answer.status == 422:
                    assert api.Problem.from_json(answer.body).error
    assert not site.store.tasks.get(task.id).state.is_final


RAW = [
    b"",
    b"\0" * 2000,
    b"GET / HTTP/1.1\r\n",
    b"GET\r\n\r\n",
    b"GET /boot/ipxe/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"BREW /boot/vmlinuz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /agent/v1/checkin HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    b"POST /agent/v1/checkin HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nshort",
    b"POST /agent/v1/checkin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /agent/v1/checkin HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /agent/v1/checkin HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\0\0",
    b"GET /boot/vmlinuz HTTP/1.1\r\nHost: x\r\nRange: bytes=9-1\r\nConnection: close\r\n\r\n",
    b"GET /boot/vmlinuz HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1,3-4,\xff\r\nConnection: close\r\n\r\n",
    b'GET /boot/vmlinuz HTTP/1.1\r\nHost: x\r\nIf-None-Match: \xff"\r\nConnection: close\r\n\r\n',
    b"GET http://[::1/boot/vmlinuz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"CONNECT evil:443 HTTP/1.1\r\nHost: evil\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n",
]


@pytest.mark.parametrize("data", RAW, ids=[str(number) for number in range(len(RAW))])
async def test_malformed_requests_do_not_stop_the_service(
    site: Site, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    received = await asyncio.to_thread(raw_exchange, site.port, data)
    assert b"Traceback" not in received
    assert not received or received.startswith(b"HTTP/1.")
    assert not received.startswith((b"HTTP/1.1 500", b"HTTP/1.0 500"))
    assert await asyncio.to_thread(is_alive, site.port)
    assert not caplog.records


async def test_random_bytes_on_the_socket_do_not_stop_the_service(site: Site) -> None:
    @given(st.lists(st.binary(max_size=300) | st.sampled_from(RAW), max_size=3).map(b"".join))
    @settings(max_examples=40, deadline=None)
    def send(data: bytes) -> None:
        assert b"Traceback" not in raw_exchange(site.port, data, timeout_s=0.3)

    await asyncio.to_thread(send)
    assert await asyncio.to_thread(is_alive, site.port)


async def test_idle_connections_keep_nobody_out(site: Site) -> None:
    idle = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(300)]
    try:
        assert await asyncio.to_thread(is_alive, site.port)
    finally:
        for _, writer in idle:
            writer.close()


async def test_answers_do_not_tell_which_programs_made_them(site: Site) -> None:
    for path in (b"/healthz", b"/nothing", b"/boot/vmlinuz"):
        answer = await asyncio.to_thread(raw_exchange, site.port, b"GET " + path + b" HTTP/1.0\r\n\r\n")
        assert b"Server: Diecast\r\n" in answer


async def test_a_defect_is_logged_and_not_shown(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any) -> Any:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(site.store.hosts, "identify", broken)
    async with pc_at(site) as pc:
        answer = await pc.call("GET", f"/boot/ipxe/{MAC}")
        agent = await pc.agent("POST", "/checkin", api.CheckIn([MAC], MAC))
    assert (answer.status, agent.status) == (500, 500)
    assert "secret inside" not in answer.text + agent.text
    assert api.Problem.from_json(agent.body).remedy
    assert "secret inside" in caplog.text


async def test_a_store_that_is_away_asks_the_agent_to_wait(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any) -> Any:
        raise Unavailable("The store is away.")

    monkeypatch.setattr(site.store.hosts, "identify", away)
    async with pc_at(site) as pc:
        answer = await pc.agent("POST", "/checkin", api.CheckIn([MAC], MAC))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_two_hundred_pcs_report_every_second(site: Site) -> None:
    tokens = []
    for number in range(200):
        mac = f"52:54:00:01:00:{number:02x}"
        task = site.store.tasks.capture(site.host(f"PC-{number}", mac), "win11")
        tokens.append(site.store.tasks.checked_in(task.id, "127.0.0.1", mac)[1])
    report = api.Progress("reading", 1, 2, 3.0)
    async with pc_at(site) as pc:

        async def tell(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            answer = await pc.call("POST", f"{api.PREFIX}/progress", report.to_json(), headers)
            return answer.status

        await asyncio.gather(*map(tell, tokens))
        start = time.process_time()  # of service and clients: the machine may be busy with other things
        statuses = await asyncio.gather(*map(tell, tokens))
        seconds = time.process_time() - start
    assert set(statuses) == {200}
    assert seconds < 2


# -- sockets


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def test_the_service_listens_on_the_chosen_interface_and_stops(tmp_path: Path) -> None:
    port = free_port()
    configured = settings_in(tmp_path, network=Network(interfaces=("lo",)), http=Http(port=port))
    stop, ready = asyncio.Event(), asyncio.Event()
    with Store.open(configured.paths.database) as store:
        service = asyncio.create_task(httpd.serve(configured, store, stop, ready=ready.set))
        await asyncio.wait_for(ready.wait(), 10)
        assert await asyncio.to_thread(is_alive, port)
        with pytest.raises(Unavailable, match=f"port {port}"):
            await httpd.serve(configured, store, asyncio.Event(), ready=lambda: None)
        stop.set()
        await asyncio.wait_for(service, 10)


@pytest.mark.parametrize(("interfaces", "error"), [((), ConfigError), (("none0",), Unavailable)])
async def test_without_a_usable_interface_it_says_so(
    tmp_path: Path, interfaces: tuple[str, ...], error: type[ApplianceError]
) -> None:
    configured = settings_in(tmp_path, network=Network(interfaces=interfaces))
    with Store.open(configured.paths.database) as store, pytest.raises(error):
        await httpd.serve(configured, store, asyncio.Event(), ready=lambda: None)
