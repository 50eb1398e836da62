"""The log: from our own file for real, and from journald through a fake that answers as journalctl does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import appliance.services
from appliance.errors import Unavailable
from appliance.system import logs, units
from appliance.system.logs import Journal, LogFile, LogLine, file_of, service_of, to_file
from tests.fakes.systemd import FakeSystemd

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DHCP, HTTP = logging.getLogger("appliance.services.dhcpd"), logging.getLogger("appliance.services.boot_pages")
TOO_LONG_S = 30


@pytest.fixture(autouse=True)
def everything_is_logged() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)  # not root.level: only setLevel empties what each logger remembers of its level
    yield
    root.setLevel(before)


def texts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines]


# -- the file ---------------------------------------------------------------------------------------------------------


def test_every_module_of_the_services_belongs_to_one_or_is_shared() -> None:
    folder = Path(appliance.services.__file__).parent
    found = {path.stem: service_of(f"appliance.services.{path.stem}") for path in folder.glob("*.py")}
    assert {service for service in found.values() if service} == set(units.SERVICES)
    shared = {"__init__", "neighbours", "netlink", "runtime", "watchdog"}
    assert {module for module, service in found.items() if not service} == shared
    assert service_of("aiohttp.access") == ""


def test_what_is_logged_is_read_back_with_time_level_and_service(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    with to_file(tmp_path):
        DHCP.info("offered %s", "10.20.5.1")
        HTTP.warning("slow")
        logging.getLogger("aiohttp.server").error("broken")
        DHCP.debug("seen")
    DHCP.info("after the end")
    lines = LogFile(file_of(tmp_path)).last(10)
    assert [(line.level, line.service, line.text) for line in lines] == [
        ("info", "dhcp", "dhcpd: offered 10.20.5.1"),
        ("warning", "http", "boot_pages: slow"),
        ("error", "", "aiohttp.server: broken"),
        ("debug", "dhcp", "dhcpd: seen"),
    ]
    assert abs((lines[0].at - before).total_seconds()) < TOO_LONG_S


def test_a_shared_module_speaks_for_the_only_service_of_its_process(tmp_path: Path) -> None:
    runtime = logging.getLogger("appliance.services.runtime")
    for services in (["nfs"], ["nfs", "cast"], []):
        with to_file(tmp_path, services):
            runtime.info("ready")
            DHCP.info("ready")
    assert [line.service for line in LogFile(file_of(tmp_path)).last(6)] == ["nfs", "dhcp", "", "dhcp", "", "dhcp"]


def test_lines_are_chosen_by_service_text_and_number(tmp_path: Path) -> None:
    with to_file(tmp_path):
        for number in range(20):
            DHCP.info("offer %d to 52:54:00:AA:01:01", number)
            HTTP.info("page %d", number)
    log = LogFile(file_of(tmp_path))
    assert texts(log.last(2)) == ["dhcpd: offer 19 to 52:54:00:AA:01:01", "boot_pages: page 19"]
    assert texts(log.last(2, ["http"])) == ["boot_pages: page 18", "boot_pages: page 19"]
    assert len(log.last(100, text="52:54:00:aa")) == 20, "in any case"
    assert log.last(100, ["http"], "52:54") == []
    assert log.last(0) == []


def test_a_traceback_belongs_to_its_line_and_is_searched_with_it(tmp_path: Path) -> None:
    with to_file(tmp_path):
        try:
            raise ValueError("a defect in here")
        except ValueError:
            DHCP.exception("cannot answer")
        HTTP.info("goes on")
    log = LogFile(file_of(tmp_path))
    (line,) = log.last(10, text="A DEFECT")
    assert line.text.startswith("dhcpd: cannot answer\nTraceback (most recent call last):\n")
    assert len(log.last(10)) == 2


def test_a_client_cannot_forge_a_line(tmp_path: Path) -> None:
    with to_file(tmp_path):
        DHCP.info("name is %s", "x\n2026-11-23T12:00:00+00:00 error dhcp dhcpd: forged\x1b[2J")
    (line,) = LogFile(file_of(tmp_path)).last(10)
    assert line.level == "info"
    assert "\\x0a" in line.text
    assert "\x1b" not in file_of(tmp_path).read_text()


def test_an_old_file_is_put_aside_and_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 1000)
    with to_file(tmp_path):
        for number in range(40):
            DHCP.info("line %02d", number)
    names = {path.name for path in file_of(tmp_path).parent.iterdir()}
    assert {"diecast.log", "diecast.log.1", "diecast.log.2"} <= names
    assert all(path.stat().st_size <= 1000 for path in file_of(tmp_path).parent.iterdir())
    assert texts(LogFile(file_of(tmp_path)).last(40)) == [f"dhcpd: line {number:02}" for number in range(40)]


def test_no_more_than_so_many_old_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 100)
    with to_file(tmp_path):
        for number in range(20):
            DHCP.info("a line that fills more than half of a file: %d", number)
    assert len(list(file_of(tmp_path).parent.glob("diecast.log*"))) == logs.KEPT + 1
    assert texts(LogFile(file_of(tmp_path)).last(1))[0].endswith(": 19")


def test_several_processes_share_the_file_and_no_line_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each writer has its own handler, as a process has; only the lock and the appends are shared."""
    monkeypatch.setattr(logs, "MAX_BYTES", 20_000)
    monkeypatch.setattr(logs, "KEPT", 50)

    def write(who: int) -> None:
        handler = logs._SharedFile(file_of(tmp_path))
        handler.setFormatter(logs._Formatter())
        for number in range(500):
            handler.handle(DHCP.makeRecord(DHCP.name, logging.INFO, "", 0, f"{who}/{number}", (), None))
        handler.close()

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = texts(LogFile(file_of(tmp_path)).last(10_000))
    assert sorted(found) == sorted(f"dhcpd: {who}/{number}" for who in range(4) for number in range(500))


def test_a_missing_log_says_who_writes_it(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="There is no log yet") as caught:
        LogFile(file_of(tmp_path)).last(5)
    assert "diecast serve" in caught.value.hint


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("no folder")
    with pytest.raises(Unavailable, match="cannot be written"):
        to_file(tmp_path)


@given(st.text())
def test_any_text_in_the_file_is_lines_or_nothing(text: str) -> None:
    for line in logs._lines(text.split("\n")):
        assert line.level in {"debug", "info", "warning", "error"}


class Follower:
    """Follows in a thread, until the test is over."""

    def __init__(self, source: logs.LogSource, *words: Any) -> None:
        self.lines: list[LogLine] = []
        self.looked = threading.Event()  # it has reached the end of what there was
        self._arrived = threading.Condition()
        self._end = threading.Event()
        self._source, self._words = source, words
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Follower:
        self._thread.start()
        assert self.looked.wait(TOO_LONG_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        for line in self._source.follow(self._end.is_set, *self._words):
            if line is None:
                self.looked.set()
                continue
            with self._arrived:
                self.lines.append(line)
                self._arrived.notify_all()

    def waits_for(self, count: int) -> list[str]:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.lines) >= count, TOO_LONG_S), self.lines
            return texts(self.lines)


def test_new_lines_are_followed_through_a_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_POLL_S", 0.01)
    with to_file(tmp_path):
        DHCP.info("old")
        with Follower(LogFile(file_of(tmp_path))) as follower:
            DHCP.info("one")
            assert follower.waits_for(1) == ["dhcpd: one"]
            monkeypatch.setattr(logs, "MAX_BYTES", 10)
            DHCP.info("two")
            assert follower.waits_for(2)[1:] == ["dhcpd: two"]
            monkeypatch.setattr(logs, "MAX_BYTES", 10_000)
            DHCP.info("three")
            assert follower.waits_for(3)[2:] == ["dhcpd: three"]


def test_a_log_that_begins_later_is_followed_and_filtered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_POLL_S", 0.01)
    with Follower(LogFile(file_of(tmp_path)), ["http"], "MENU") as follower, to_file(tmp_path):
        DHCP.info("menu")
        HTTP.info("nothing")
        HTTP.error("menu\n7")
        assert follower.waits_for(1) == ["boot_pages: menu\\x0a7"]


# -- journald ---------------------------------------------------------------------------------------------------------


def entry(text: Any, unit: str = "diecast-dhcp.service", seconds: int = 0, **more: Any) -> dict[str, Any]:
    at = str(int(AT.timestamp() + seconds) * 1_000_000)
    return {"__REALTIME_TIMESTAMP": at, "PRIORITY": "6", "_SYSTEMD_UNIT": unit, "MESSAGE": text} | more


def test_the_journal_is_read_from_its_end_and_given_in_order(systemd: FakeSystemd) -> None:
    systemd.has_journal([entry("three", seconds=2, PRIORITY="4"), entry("two", seconds=1), entry("one")])
    assert [(line.text, line.level, line.service) for line in Journal().last(2)] == [
        ("two", "info", "dhcp"),
        ("three", "warning", "dhcp"),
    ]
    assert Journal().last(1)[0].at == AT.replace(second=2)
    call = systemd.calls("journalctl")[-1]
    assert call[:4] == ["--no-pager", "--quiet", "--output=json", "--reverse"]
    assert call[4:] == [f"--unit=diecast-{name}.service" for name in units.SERVICES]


def test_the_journal_is_asked_for_the_named_services_and_searched_by_us(systemd: FakeSystemd) -> None:
    systemd.has_journal([entry("Offer 2"), entry("other"), entry("offer 1")])
    assert texts(Journal().last(5, ["dhcp", "http"], "OFFER")) == ["offer 1", "Offer 2"]
    assert systemd.calls("journalctl")[-1][4:] == ["--unit=diecast-dhcp.service", "--unit=diecast-http.service"]


def test_entries_as_journald_makes_them_are_all_understood(systemd: FakeSystemd) -> None:
    odd: list[dict[str, Any] | str] = [
        entry([195, 164, 255]),  # bytes that are no UTF-8 come as numbers
        entry(None),  # a message that was too large
        entry("Started.", "init.scope", UNIT="diecast-nfs.service"),  # systemd's own words
        entry("x", PRIORITY="99"),
        entry("y", PRIORITY="x"),
        "no json",
        "[]",
        "{}",
        entry("z", __REALTIME_TIMESTAMP="never"),
    ]
    systemd.has_journal(odd)
    assert [(line.text, line.service) for line in Journal().last(10)] == [
        ("x", "dhcp"),
        ("Started.", "nfs"),
        ("", "dhcp"),
        ("ä\ufffd", "dhcp"),
    ]


def test_a_journal_that_cannot_be_read_is_a_sentence(systemd: FakeSystemd) -> None:
    systemd.refuses("No journal files were opened due to insufficient permissions.\n", 1)
    with pytest.raises(Unavailable, match=r"cannot be read: No journal files were opened due to insufficient permissi"):
        Journal().last(5)
    systemd.refuses("", 3)
    with pytest.raises(Unavailable, match="it gave no reason"):
        Journal().last(5)


def test_the_journal_is_followed_until_told_to_stop(systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_POLL_S", 0.01)
    systemd.has_journal([entry("one"), entry("two"), entry("three")])
    with Follower(Journal(), ["dhcp"], "t") as follower:
        assert follower.waits_for(2) == ["two", "three"]
    assert systemd.calls("journalctl")[-1][3:] == ["--follow", "--lines=0", "--unit=diecast-dhcp.service"]


def test_a_follower_that_is_dropped_leaves_no_process(systemd: FakeSystemd) -> None:
    systemd.has_journal([entry("one")])
    following = Journal().follow(lambda: False)
    assert [line.text for line in islice((line for line in following if line), 1)] == ["one"]
    following.close()  # type: ignore[attr-defined]  # a generator; a process left behind is a ResourceWarning


def test_the_journal_counts_where_our_units_are_and_the_file_elsewhere(
    systemd: FakeSystemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(logs.source(tmp_path), Journal)
    systemd.has_units({"dhcp": {"LoadState": "not-found"}})
    assert logs.source(tmp_path) == LogFile(file_of(tmp_path)), "services run by hand on a machine with systemd"
    monkeypatch.setattr(units, "_BOOTED", tmp_path / "nowhere")
    assert logs.source(tmp_path) == LogFile(file_of(tmp_path))
