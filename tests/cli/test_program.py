"""The program as a whole: help, exit statuses, errors in words, what it imports."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance import __version__, config
from appliance.__main__ import main
from appliance.cli.program import COMMANDS
from tests.cli.conftest import MAC1, Diecast

REPOSITORY = Path(__file__).parents[2]


def python(*words: str, timeout_s: float = 30) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=timeout_s, env=environment, check=False
    )


def test_help_starts_quickly_and_loads_nothing_heavy() -> None:
    start = time.monotonic()
    done = python("-X", "importtime", "-m", "appliance", "--help")
    took = time.monotonic() - start
    assert done.returncode == 0
    assert "deploy" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert loaded.isdisjoint({"textual", "aiohttp", "pyroute2", "tftpy", "peewee", "blake3", "zstandard", "psutil"})
    assert took < 5, "usually 0.2 s"


def test_every_command_and_part_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [[command.name] for command in COMMANDS]
    lines += [[command.name, part.name] for command in COMMANDS for part in command.parts]
    for words in lines:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--help"])
        assert ended.value.code == 0
        assert f"diecast {' '.join(words)}" in capsys.readouterr().out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"diecast {__version__}\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "The following arguments are required: COMMAND"),
        (("paint",), "invalid choice: 'paint'"),
        (("host", "add"), "required: HOST"),
        (("host", "add", "PC1", "--uuid", "x"), "'x' is no UUID"),
        (("host", "add", "PC1", "--address", "1.2.3"), "'1.2.3' is no IPv4 address"),
        (("deploy", "win11", "--new", "0"), "invalid number of PCs value: '0'"),
        (("task", "show", "seven"), "invalid int value: 'seven'"),
        (("host", "list", "--colour"), "Unrecognized arguments: --colour"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_where_to_look(
    diecast: Diecast, words: tuple[str, ...], sentence: str
) -> None:
    said = diecast(*words)
    assert said.status == 64
    assert said.out == ""
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert said.err.startswith("diecast: ")
    assert "--help" in said.err


def test_a_missing_settings_file_says_how_to_make_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--config", str(tmp_path / "none.toml"), "host", "list"]) == 78
    assert "Create it: diecast config --defaults >" in capsys.readouterr().err


def test_the_settings_file_may_be_named_by_the_environment(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIECAST_CONFIG", str(config))
    assert main(["host", "list"]) == 0
    assert "No host is known" in capsys.readouterr().out


def test_settings_and_debug_may_stand_after_the_command(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["host", "list", "--config", str(config)]) == 0
    assert main(["--config", str(config), "host", "show", "PC1", "--debug"]) == 66
    assert "Traceback" in capsys.readouterr().err


def test_a_console_that_cannot_show_a_character_gets_another(config: Path) -> None:
    words = ["host", "add", "PC1", "--mac", MAC1, "--notes", "Käse → ☕"]
    assert main(["--config", str(config), *words]) == 0
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "appliance", "--config", str(config), "host", "show", "PC1"]
    done = subprocess.run(command, capture_output=True, timeout=30, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "Käse ? ?".encode("latin-1") in done.stdout


def test_debug_shows_where_an_error_comes_from(diecast: Diecast) -> None:
    said = diecast("--debug", "host", "show", "PC1")
    assert said.status == 66
    assert "Traceback" in said.err
    assert said.err.endswith("diecast: There is no host 'PC1'. See: diecast host list\n")


def test_a_store_that_cannot_be_opened_is_a_sentence(diecast: Diecast, config: Path) -> None:
    (config.parent / "state").mkdir()
    (config.parent / "state" / "diecast.sqlite").write_bytes(b"no database" * 500)
    said = diecast("host", "list")
    assert said.status == 69
    assert "is not an SQLite database" in said.err


def test_a_reader_that_goes_away_is_no_error(config: Path) -> None:
    words = [sys.executable, "-m", "appliance", "--config", str(config)]
    for number in range(3):
        assert main(["--config", str(config), "host", "add", f"PC{number}", "--mac", f"525400aa02{number:02x}"]) == 0
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    listing = subprocess.Popen(
        [*words, "host", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert listing.stdout is not None
    listing.stdout.close()
    assert listing.stderr is not None
    assert listing.stderr.read() == b""
    listing.stderr.close()
    assert listing.wait(30) == 0


def test_the_defaults_are_a_settings_file_that_loads(diecast: Diecast, tmp_path: Path) -> None:
    said = diecast("config", "--defaults")
    assert said.status == 0
    path = tmp_path / "defaults.toml"
    path.write_text(said.out)
    assert config_of(path) == config.Settings()
    assert "# Interfaces to answer on." in said.out


def config_of(path: Path) -> config.Settings:
    return config.load(path)


def test_a_settings_file_is_checked_and_shown(diecast: Diecast) -> None:
    assert "is valid: full DHCP with 1 subnet on lo." in diecast("config").out
    assert diecast("config", "--json").json["network"]["interfaces"] == ["lo"]


def test_every_change_is_in_the_audit_trail(diecast: Diecast, config: Path) -> None:
    from appliance.store import Store

    diecast("host", "add", "PC1", "--mac", MAC1)
    diecast("host", "edit", "PC1", "--notes", "x")
    diecast("capture", "PC1", "--image", "win11")
    diecast("task", "cancel", "1")
    diecast("host", "remove", "PC1")
    with Store.open(config.parent / "state" / "diecast.sqlite") as store:
        actions = [event.action for event in reversed(store.audit.list())]
        assert actions == ["host add", "host edit", "capture", "task cancel", "host remove"]
        assert all(event.actor for event in store.audit.list())


def test_serve_refuses_a_service_that_is_not_there(diecast: Diecast) -> None:
    said = diecast("serve", "dhcp", "ftp")
    assert said.status == 64
    assert "There is no service 'ftp'" in said.err
