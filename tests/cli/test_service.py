"""Services and their log at the command line, on a machine with systemd and on one without."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance import config as settings_of
from appliance import overrides
from appliance.events import ServiceHealth
from appliance.store import Store
from appliance.system import logs, units
from appliance.system.about import about
from tests.cli.conftest import Diecast
from tests.fakes.systemd import FakeSystemd

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSystemd:
    return FakeSystemd.install(tmp_path / "systemd", monkeypatch)


@pytest.fixture
def no_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "_BOOTED", tmp_path / "nowhere")


def rows(text: str) -> dict[str, str]:
    return {line.split()[0]: " ".join(line.split()[1:]) for line in text.splitlines()[1:]}


def test_services_are_listed_with_what_they_and_systemd_say(
    diecast: Diecast, store: Store, config: Path, systemd: FakeSystemd
) -> None:
    now = datetime.now(UTC)
    store.services.beat("dhcp", ServiceHealth.OK, pid=4711, started=now)
    store.services.beat("nfs", ServiceHealth.FAILED, "Port 2049 is taken.", pid=12, started=now)
    store.services.beat("cast", ServiceHealth.OK, pid=13, started=now, now=now - timedelta(minutes=1))
    systemd.has_units({"dhcp": {}, "nfs": {"ActiveState": "failed", "Result": "exit-code"}})
    overrides.change(store, settings_of.load(config), "dhcp.lease_s", 600, now=now + timedelta(seconds=1))
    listed = diecast("service", "list")
    assert listed.out.splitlines()[0].split() == ["SERVICE", "STATE", "SINCE", "PID", "SYSTEMD", "REMARK"]
    found = rows(listed.out)
    assert list(found) == list(units.SERVICES)
    assert found["dhcp"].startswith("ok ")
    assert found["dhcp"].endswith("4711 active restart needed: dhcp.lease_s")
    assert found["nfs"].endswith("- failed (exit-code) Port 2049 is taken.")
    assert found["cast"].startswith("silent ")
    assert found["http"] == "never ran - - not installed"
    data = {entry["name"]: entry for entry in diecast("service", "list", "--json").json}
    assert (data["dhcp"]["service"]["pid"], data["dhcp"]["unit"]["enabled"]) == (4711, True)
    assert data["dhcp"]["restart"] == ["dhcp.lease_s"]


def test_a_systemd_that_does_not_answer_is_noted_and_the_rest_shown(diecast: Diecast, systemd: FakeSystemd) -> None:
    (systemd.folder / "bin" / "systemctl").write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    said = diecast("service", "list")
    assert (said.status, "systemctl show: Failed to connect to bus." in said.err) == (0, True)
    assert rows(said.out)["dhcp"] == "never ran - - -"


@pytest.mark.parametrize(("verb", "done"), [("start", "Started"), ("stop", "Stopped"), ("restart", "Restarted")])
def test_services_are_started_stopped_and_restarted(
    diecast: Diecast, store: Store, systemd: FakeSystemd, verb: str, done: str
) -> None:
    assert diecast("service", verb, "http", "dhcp").out == f"{done} dhcp, http.\n"
    assert systemd.calls()[-1][2:] == [verb, "diecast-dhcp.service", "diecast-http.service"]
    (event,) = store.audit.list()
    assert (event.action, event.detail) == (f"service {verb}", "dhcp, http")
    systemd.refuses("Access denied\n", 4)
    said = diecast("service", verb)
    assert (said.status, f"systemctl {verb}: Access denied." in said.err) == (69, True)
    assert len(store.audit.list()) == 1
    assert diecast("service", verb, "ftp").status == 64


@pytest.mark.usefixtures("no_systemd")
def test_without_systemd_a_service_is_not_started_and_it_is_said_how(diecast: Diecast) -> None:
    said = diecast("service", "start", "dhcp")
    assert said.status == 69
    assert "systemd does not run this machine" in said.err
    assert "diecast serve" in said.err
    assert diecast("service", "list").status == 0


@pytest.mark.usefixtures("no_systemd")
def test_the_log_file_is_shown_chosen_and_searched(
    diecast: Diecast, config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = diecast("log")
    assert (said.status, "There is no log yet" in said.err) == (69, True)
    with caplog.at_level(logging.INFO), logs.to_file(config.parent / "state"):
        logging.getLogger("appliance.services.dhcpd").info("offered 10.20.5.1")
        logging.getLogger("appliance.services.httpd").warning("slow\n")
        logging.getLogger("else").error("\x1b[2J")
    lines = diecast("log").out.splitlines()
    assert [line.split(maxsplit=2)[2] for line in lines] == [
        "dhcp      dhcpd: offered 10.20.5.1",
        "http      WARNING httpd: slow\\x0a",
        "-         ERROR else: \\x1b[2J",
    ]
    assert diecast("log", "dhcp").out.count("\n") == 1
    assert diecast("log", "--grep", "SLOW").out.count("\n") == 1
    assert diecast("log", "--lines", "2").out.count("\n") == 2
    assert diecast("log", "--json").json[0]["service"] == "dhcp"
    said = diecast("log", "--grep", "nowhere")
    assert (said.status, said.out, said.err) == (0, "", "There is no such line.\n")
    assert diecast("log", "ftp").status == 64
    assert diecast("log", "--lines", "0").status == 64
    assert diecast("log", "--follow", "--json").status == 64


@pytest.mark.usefixtures("no_systemd")
def test_the_log_is_chosen_by_the_pc_and_the_task_that_it_is_about(
    diecast: Diecast, config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("appliance.services.boot_pages")
    with caplog.at_level(logging.INFO, logger.name), logs.to_file(config.parent / "state"):
        logger.info("nobody's")
        with about(host="pc-07", task=7):
            logger.info("asks")
        with about(host="pc-07", task=8):
            logger.info("asks again")
    assert diecast("log", "--host", "PC-07").out.count("\n") == 2
    assert "asks again" in diecast("log", "--host", "pc-07", "--task", "8").out
    (line,) = diecast("log", "--task", "7", "--json").json
    assert (line["host"], line["task"]) == ("pc-07", 7)
    assert diecast("log", "--grep", "pc-07").out.count("\n") == 2, "its name is as good as a word in the line"
    assert diecast("log", "--task", "0").status == 64


def test_the_journal_is_asked_for_a_task_by_its_field(diecast: Diecast, systemd: FakeSystemd) -> None:
    entry = {"__REALTIME_TIMESTAMP": "1", "MESSAGE": "x", "DIECAST_TASK": "7", "DIECAST_HOST": "pc-07"}
    systemd.has_journal([entry, {**entry, "DIECAST_HOST": "pc-08"}])
    assert len(diecast("log", "--task", "7", "--host", "pc-07", "--json").json) == 1
    assert systemd.calls("journalctl")[-1][-1] == "DIECAST_TASK=7"


def test_the_journal_is_shown_where_units_are(diecast: Diecast, systemd: FakeSystemd) -> None:
    at = str(int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()) * 1_000_000)
    unit = "diecast-dhcp.service"
    systemd.has_journal([{"__REALTIME_TIMESTAMP": at, "MESSAGE": "two\nmore", "_SYSTEMD_UNIT": unit}])
    out = diecast("log", "dhcp").out.splitlines()
    assert [out[0].split(maxsplit=2)[2], out[1]] == ["dhcp      two", "    more"]
    assert systemd.calls("journalctl")[-1][-1] == "--unit=diecast-dhcp.service"


@pytest.mark.usefixtures("no_systemd")
def test_following_goes_on_until_it_is_interrupted(
    diecast: Diecast, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = logs.file_of(config.parent / "state")
    path.parent.mkdir(parents=True)
    path.write_text("2026-11-23T12:00:00.000+00:00 info dhcp dhcpd: old\n")
    sleeps = iter(["2026-11-23T12:00:01.000+00:00 info dhcp dhcpd: new\n", "", ""])

    def sleep(_: float) -> None:
        text = next(sleeps, None)
        if text is None:
            raise KeyboardInterrupt
        with path.open("a") as file:
            file.write(text)

    monkeypatch.setattr("appliance.system.logs.time.sleep", sleep)
    said = diecast("log", "--follow")
    assert said.status == 130
    assert [line.split()[-1] for line in said.out.splitlines()] == ["old", "new"]


@pytest.mark.parametrize("in_journal", [False, True])
def test_serve_writes_the_file_only_where_journald_does_not_listen(
    config: Path, tmp_path: Path, in_journal: bool
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    environment |= {"PYTHONPATH": str(REPOSITORY)} | ({"JOURNAL_STREAM": "8:1"} if in_journal else {})
    command = [sys.executable, "-m", "appliance", "--config", str(config), "serve", "scheduler"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "scheduler is ready" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(30) == 0
    assert logs.file_of(tmp_path / "state").exists() != in_journal
    if not in_journal:
        lines = logs.LogFile(logs.file_of(tmp_path / "state")).last(50)
        assert ("scheduler", "runtime: scheduler is ready") in [(line.service, line.text) for line in lines]


@pytest.mark.usefixtures("no_systemd")
def test_a_log_that_cannot_be_written_stops_no_service(
    diecast: Diecast, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[list[str]] = []
    monkeypatch.setattr("appliance.services.runtime.run_services", lambda names, *_: served.append(names))
    monkeypatch.setattr("appliance.services.runtime.set_up_logging", lambda _: None)
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    (config.parent / "state").mkdir()
    (config.parent / "state" / "log").write_text("no folder")
    said = diecast("serve", "dhcp")
    assert (said.status, served) == (0, [["dhcp"]])
    assert "cannot be written" in said.err
