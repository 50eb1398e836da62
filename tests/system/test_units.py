"""Our units: what systemctl is asked, what is made of its answers, and a machine without it."""

from __future__ import annotations

import pytest

from appliance.errors import Unavailable, UsageError
from appliance.services.runtime import MODULES
from appliance.system import units
from appliance.system.units import SERVICES, Unit, Verb
from tests.fakes.systemd import FakeSystemd


def test_there_is_a_unit_for_each_service_that_can_be_served() -> None:
    assert tuple(MODULES) == SERVICES


def test_units_are_listed_as_systemd_sees_them(systemd: FakeSystemd) -> None:
    failed = {"ActiveState": "failed", "SubState": "failed", "MainPID": "0", "Result": "exit-code"}
    waiting = {"ActiveState": "activating", "SubState": "auto-restart", "UnitFileState": "disabled"}
    absent = {"LoadState": "not-found", "ActiveState": "inactive"}
    systemd.has_units({"http": {}, "dhcp": failed, "nfs": waiting, "cast": absent})
    found = {unit.service: unit for unit in units.list_units()}
    assert list(found) == list(SERVICES)
    assert found["http"] == Unit("http", True, "active", "running", True, 4711, "success")
    words = {name: unit.words for name, unit in found.items()}
    assert words["dhcp"] == "failed (exit-code)"
    assert words["nfs"] == "activating (auto-restart)"
    assert (words["cast"], words["tftp"]) == ("not installed", "not installed")
    assert not found["nfs"].enabled
    (call,) = systemd.calls()
    assert call[2] == "show"
    assert call[-6:] == [f"diecast-{name}.service" for name in SERVICES]


@pytest.mark.parametrize("verb", Verb)
def test_a_verb_is_done_to_the_named_units_in_starting_order(systemd: FakeSystemd, verb: Verb) -> None:
    assert units.act(verb, ["http", "dhcp", "http"]) == ("dhcp", "http")
    assert systemd.calls()[-1] == [
        *("--no-pager", "--no-ask-password", str(verb)),
        *("diecast-dhcp.service", "diecast-http.service"),
    ]


def test_no_name_means_all_services(systemd: FakeSystemd) -> None:
    assert units.act(Verb.RESTART, []) == SERVICES
    assert systemd.calls()[-1][-1] == "diecast-cast.service"


def test_an_unknown_service_is_refused_before_anything_is_asked(systemd: FakeSystemd) -> None:
    with pytest.raises(UsageError, match="There is no service 'ftp'"):
        units.act(Verb.STOP, ["dhcp", "ftp"])
    assert systemd.calls() == []


def test_a_unit_that_is_not_installed_is_not_started(systemd: FakeSystemd) -> None:
    systemd.has_units({"dhcp": {}, "http": {"LoadState": "not-found"}})
    with pytest.raises(Unavailable, match=r"The unit diecast-http.service is not installed."):
        units.act(Verb.START, ["dhcp", "http"])
    assert [call[2] for call in systemd.calls()] == ["show"]


def test_what_systemd_refuses_is_said_in_its_words(systemd: FakeSystemd) -> None:
    systemd.refuses("Failed to restart diecast-dhcp.service: Access denied\nSee logs.\n", 4)
    with pytest.raises(
        Unavailable, match=r"systemctl restart: Failed to restart diecast-dhcp.service: Access denied\."
    ):
        units.act(Verb.RESTART, ["dhcp"])
    systemd.refuses("", 1)
    with pytest.raises(Unavailable, match=r"systemctl stop: it ended with status 1\."):
        units.act(Verb.STOP, ["dhcp"])


def test_a_systemctl_that_hangs_is_given_up(systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch) -> None:
    (systemd.folder / "bin" / "systemctl").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(units, "_ASK_TIMEOUT_S", 0.1)
    with pytest.raises(Unavailable, match="systemctl show was not done after 0 s"):
        units.list_units()


@pytest.mark.usefixtures("no_systemd")
def test_without_systemd_there_are_no_units_and_a_verb_says_so() -> None:
    assert not units.systemd_runs()
    assert units.list_units() == []
    with pytest.raises(Unavailable, match="systemd does not run this machine, so services cannot be told to stop") as e:
        units.act(Verb.STOP, ["dhcp"])
    assert "diecast serve" in e.value.hint


@pytest.mark.parametrize("text", ["", "nonsense", "Id=\nMainPID=x\n", "Id=diecast-dhcp.service\nMainPID=\n"])
def test_an_answer_that_makes_no_sense_is_no_unit_that_runs(systemd: FakeSystemd, text: str) -> None:
    (systemd.folder / "show").write_text(text)
    assert [unit.pid for unit in units.list_units()] == [0] * len(SERVICES)
