"""The operator's manual says nothing that the program does not understand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from appliance import config
from appliance.cast.receiver import Mode
from appliance.cli.program import COMMANDS, build_parser
from appliance.services import cast_status, metrics
from appliance.store import Store
from appliance.store.notices import SECRETS

REPOSITORY = Path(__file__).parents[2]
MANUALS = [REPOSITORY / "docs" / "operating.md", REPOSITORY / "README.md"]
MANUAL = MANUALS[0].read_text(encoding="utf-8")


def command_lines() -> list[str]:
    """Every `diecast ...` in blocks and in running text, without comments, redirections and placeholders."""
    found = []
    for path in MANUALS:
        text = path.read_text(encoding="utf-8")
        lines = re.findall(r"^diecast .*$", text, re.MULTILINE) + re.findall(r"`(diecast [^`]+)`", text)
        found += [re.sub(r"\s+[#>].*|\[|\]|\s\.\.\.", "", line).strip() for line in lines]
    return sorted(set(found))


@pytest.mark.parametrize("line", command_lines())
def test_every_command_of_the_manual_is_understood(line: str) -> None:
    words = shlex.split(line)[1:]
    if words == ["--debug"]:
        words = ["--debug", "doctor"]
    assert build_parser().parse_args(words).run is not None


def test_every_command_is_in_the_manual() -> None:
    names = [f"diecast {command.name}" for command in COMMANDS if not command.parts]
    names += [f"diecast {command.name} {part.name}" for command in COMMANDS for part in command.parts]
    assert [name for name in names if name not in MANUAL] == []


def test_every_setting_that_the_manual_names_exists() -> None:
    named = set(re.findall(r"`(paths|network|dhcp|tftp|http|nfs|tasks|cast|notify|log)\.([a-z_]+)", MANUAL))
    assert len(named) > 5
    settings = config.Settings()
    unknown = [f"{table}.{key}" for table, key in sorted(named) if not hasattr(getattr(settings, table), key)]
    assert [name for name in unknown if name not in SECRETS] == []


def test_the_example_of_the_manual_is_a_valid_settings_file() -> None:
    import tomllib

    (block,) = re.findall(r"```toml\n(.*?)```", MANUAL, re.DOTALL)
    assert config.parse(tomllib.loads(block)).network.interfaces == ("enp1s0",)


def test_every_exit_status_of_the_program_is_in_the_manual() -> None:
    from appliance.errors import ApplianceError

    kinds: list[type[ApplianceError]] = [ApplianceError, *ApplianceError.__subclasses__()]
    statuses = {kind.exit_status for kind in kinds}
    listed = {int(number) for number in re.findall(r"^\| (\d+) \|", MANUAL, re.MULTILINE)}
    assert statuses <= listed


def test_every_way_in_which_a_pc_of_a_cast_can_fare_is_in_the_manual() -> None:
    words = [mode.value for mode in Mode]
    words += [cast_status.COMPLETE, cast_status.LEFT, cast_status.SILENT, cast_status.WAITS, cast_status.SLOW]
    assert [way for way in words if way not in MANUAL] == []


def test_every_metric_is_in_the_manual(tmp_path: Path) -> None:
    with Store.open(tmp_path / "diecast.sqlite") as store:
        size = metrics.FolderSize(tmp_path)
        series = metrics.collect(store, metrics.Counters(), size, config.Settings())
    assert len(series) > 10
    assert [item.name for item in series if f"`diecast_{item.name}`" not in MANUAL] == []
    assert [word for word in cast_status.WORDS if not re.search(rf"`diecast_cast_pcs`.*\b{word}\b", MANUAL)] == []
