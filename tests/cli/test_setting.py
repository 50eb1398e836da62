"""Settings, audit trail and what `config` says of both."""

from __future__ import annotations

import io
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.cli.context import Context
from appliance.errors import Unavailable
from appliance.events import ServiceHealth
from appliance.store import Store
from tests.cli.conftest import MAC1, Diecast


def test_a_setting_is_shown_set_taken_back_and_its_services_are_named(diecast: Diecast, store: Store) -> None:
    store.services.beat("dhcp", ServiceHealth.OK, pid=1, started=datetime(2026, 11, 23, tzinfo=UTC))
    said = diecast("setting", "set", "dhcp.mode", "proxy")
    assert said.out.splitlines() == [
        "dhcp.mode is now proxy, was full.",
        "dhcp took the old value when started: diecast service restart dhcp",
    ]
    rows = {line.split()[0]: line.split() for line in diecast("setting", "list").out.splitlines()}
    assert rows["dhcp.mode"] == ["dhcp.mode", "proxy", "store", "full"]
    assert rows["network.interfaces"] == ["network.interfaces", "lo", "file", "-"]
    assert rows["http.port"] == ["http.port", "80", "default", "80"]
    assert "Restart: diecast service restart dhcp" in diecast("setting", "list").out
    assert diecast("setting", "set", "dhcp.mode", "proxy").out == "dhcp.mode is proxy as before.\n"
    assert diecast("setting", "unset", "dhcp.mode").out.startswith("dhcp.mode is now full, was proxy.\n")
    assert store.settings.all("config.") == {}
    assert [event.action for event in store.audit.list()] == ["setting unset", "setting set", "setting set"]


def test_one_setting_is_shown_with_what_it_may_be(diecast: Diecast) -> None:
    lines = diecast("setting", "get", "tasks.window_kib").out.splitlines()
    assert lines[:5] == [
        "Setting: tasks.window_kib",
        "Value:   1024",
        "From:    default",
        "Default: 1024",
        "Must be: one of 1024, 2048, 4096",
    ]
    assert diecast("setting", "get", "network.interfaces", "--json").json["value"] == ["lo"]


def test_only_what_was_changed_can_be_listed(diecast: Diecast) -> None:
    diecast("setting", "set", "network.interfaces", "eth1, eth2")
    rows = diecast("setting", "list", "--changed", "--json").json["settings"]
    assert [(row["name"], row["from"]) for row in rows if not row["name"].startswith("paths.")] == [
        ("network.interfaces", "store"),
        ("dhcp.subnet", "file"),
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("set", "dhcp.mood", "full"), "There is no setting 'dhcp.mood'. Did you mean dhcp.mode?"),
        (("set", "dhcp.mode", "both"), "'dhcp.mode' is 'both', but must be one of full, proxy, off."),
        (("set", "http.port", "x"), "'x' is no value for http.port. It must be a whole number from 1 to 65535."),
        (("set", "paths.state", "/tmp"), "'paths.state' can be set in the settings file only."),
        (("set", "dhcp.subnet", ""), "dhcp.mode is 'full', but there is no [[dhcp.subnet]]."),
        (("unset", "dhcp.mode"), "'dhcp.mode' is not set in the store."),
        (("get", "x"), "There is no setting 'x'."),
    ],
)
def test_what_cannot_be_set_is_one_sentence(
    diecast: Diecast, store: Store, words: tuple[str, ...], sentence: str
) -> None:
    said = diecast("setting", *words)
    assert (said.status, said.out, sentence in said.err) == (64, "", True), said.err
    assert store.settings.all() == {}


def test_commands_work_with_the_settings_of_the_store(diecast: Diecast, config: Path) -> None:
    diecast("setting", "set", "tasks.name_pattern", "ROOM-{nn}")
    assert diecast("config", "--json").json["tasks"]["name_pattern"] == "ROOM-{nn}"
    assert "Some settings are changed in the store" in diecast("config").out
    context = Context(config, os.environ)
    assert (context.settings.tasks.name_pattern, context.file_settings.tasks.name_pattern) == ("ROOM-{nn}", "PC-{nnn}")
    context.close()


def test_asking_for_settings_makes_no_store(diecast: Diecast, config: Path) -> None:
    assert diecast("config").status == 0
    assert not (config.parent / "state").exists()


def test_settings_that_went_bad_name_the_way_out_which_works(diecast: Diecast, store: Store) -> None:
    store.settings.set("config.dhcp.flavour", '"sweet"')
    assert diecast("host", "list").status == 0, "it needs no settings"
    said = diecast("config")
    assert (said.status, "diecast setting unset dhcp.flavour" in said.err) == (78, True)
    assert diecast("setting", "list").status == 0
    assert diecast("setting", "unset", "dhcp.flavour").out == "dhcp.flavour is set in the store no more.\n"
    assert diecast("config").status == 0
    store.settings.set("config.dhcp.mode", '"sometimes"')
    assert diecast("setting", "unset", "dhcp.mode").out == "dhcp.mode is now full.\n"


def test_a_store_that_cannot_be_read_leaves_config_and_doctor_the_file(diecast: Diecast, config: Path) -> None:
    (config.parent / "state").mkdir()
    (config.parent / "state" / "diecast.sqlite").write_bytes(b"no database" * 500)
    said = diecast("config")
    assert (said.status, "Settings in the store are not taken into account" in said.err) == (0, True)
    findings = {finding["area"]: finding["level"] for finding in diecast("doctor", "--json").json}
    assert (findings["settings"], findings["store"]) == ("ok", "problem")


def test_a_user_who_may_not_enter_the_stores_folder_sees_the_file(
    diecast: Diecast, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests may run as root, whom no folder keeps out."""
    database = config.parent / "state" / "diecast.sqlite"
    real = Path.stat

    def stat(path: Path, **words: bool) -> os.stat_result:
        if path == database:
            raise PermissionError(13, "Permission denied")
        return real(path, **words)

    def refuse(_: Path) -> None:
        raise Unavailable("The store cannot be opened.")

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(Store, "open", refuse)
    said = diecast("config")
    assert (said.status, "is valid" in said.out, "not taken into account" in said.err) == (0, True, True)


def test_the_audit_trail_is_shown_with_the_last_change_at_the_end(diecast: Diecast) -> None:
    assert diecast("audit").out == "Nothing was changed yet.\n"
    diecast("host", "add", "PC1", "--mac", MAC1)
    diecast("host", "edit", "PC1", "--notes", "x")
    lines = diecast("audit").out.splitlines()
    assert lines[0].split() == ["WHEN", "WHO", "WHAT", "DETAIL"]
    assert "host add  " in lines[1]
    assert "host edit  PC1: notes" in lines[2]
    assert len(diecast("audit", "--lines", "1").out.splitlines()) == 2
    assert [event["action"] for event in diecast("audit", "--json").json] == ["host edit", "host add"]
    assert diecast("audit", "--lines", "0").status == 64


def test_the_consoles_own_settings_are_set_and_taken_back(diecast: Diecast, store: Store) -> None:
    assert diecast("setting", "set", "console.lock_minutes", "15").out == "console.lock_minutes is now 15.\n"
    assert store.settings.get("console.lock_minutes") == "15"
    rows = {row["name"]: row for row in diecast("setting", "list", "--json").json["settings"]}
    assert (rows["console.lock_minutes"]["value"], rows["console.lock_minutes"]["from"]) == ("15", "store")
    assert rows["console.language"]["expects"] == "one of en, fr"
    assert diecast("setting", "get", "console.theme", "--json").json["value"] == "normal"
    assert diecast("setting", "unset", "console.lock_minutes").out == "console.lock_minutes is now 0.\n"
    assert store.settings.all("console.") == {}
    assert [event.action for event in store.audit.list(2)] == ["setting unset", "setting set"]


@pytest.mark.parametrize(("name", "value"), [("console.lock_minutes", "soon"), ("console.language", "de")])
def test_what_the_console_cannot_be_is_refused(diecast: Diecast, store: Store, name: str, value: str) -> None:
    said = diecast("setting", "set", name, value)
    assert (said.status, f"'{value}' is no value for {name}." in said.err) == (64, True)
    assert store.settings.all("console.") == {}


def write(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_secret_is_read_from_standard_input_and_never_shown(
    diecast: Diecast, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(monkeypatch, "geheim-7\n")
    said = diecast("setting", "set", "notify.mail_password", "--stdin")
    assert said.out == "notify.mail_password is kept.\n"
    assert store.notices.secret("notify.mail_password") == "geheim-7"
    shown = [diecast("setting", "list"), diecast("setting", "list", "--json")]
    shown += [
        diecast("setting", "get", "notify.mail_password"),
        diecast("setting", "list", "--changed"),
        diecast("audit"),
    ]
    assert "geheim-7" not in "".join(one.out + one.err for one in shown)
    assert all("notify.mail_password" in one.out for one in shown)
    assert "Value:   (set)" in shown[2].out
    assert diecast("setting", "unset", "notify.mail_password").out == "notify.mail_password is forgotten.\n"
    assert not store.notices.has_secret("notify.mail_password")
    assert store.notices.secret("notify.mail_password") == ""


@pytest.mark.parametrize(
    ("words", "typed", "sentence"),
    [
        (("notify.mail_password", "geheim-7"), "", "on a command line everybody could read it"),
        (("notify.mail_password", "--stdin"), "\n", "Nothing was written for notify.mail_password."),
        (("notify.mail_password",), "x\n", "There is no terminal to ask for notify.mail_password at."),
        (("notify.mail_password", "--stdin"), "a\x1bb\n", "must be one line"),
        (("dhcp.mode",), "proxy\n", "One value is needed."),
        (("dhcp.mode", "proxy", "--stdin"), "full\n", "One value is needed."),
    ],
)
def test_a_secret_comes_by_standard_input_only(
    diecast: Diecast, store: Store, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], typed: str, sentence: str
) -> None:
    write(monkeypatch, typed)
    said = diecast("setting", "set", *words)
    assert said.status == 64
    assert sentence in said.err
    assert "geheim-7" not in said.err
    assert not store.notices.has_secret("notify.mail_password")


def test_any_setting_can_be_read_from_standard_input(diecast: Diecast, monkeypatch: pytest.MonkeyPatch) -> None:
    write(monkeypatch, "proxy\n")
    assert "dhcp.mode is now proxy, was full." in diecast("setting", "set", "dhcp.mode", "--stdin").out
