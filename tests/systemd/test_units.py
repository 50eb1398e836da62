"""The units as systemd itself reads them, and that each service can do its work with what its unit leaves it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from appliance.services.runtime import MODULES, STOP_GRACE_S

UNITS = Path(__file__).parents[2] / "systemd"
COMMON = UNITS / "diecast-.service.d" / "common.conf"


def read(path: Path) -> ConfigParser:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


def test_every_service_has_a_unit_that_starts_it_and_the_target_wants_it() -> None:
    assert sorted(path.name for path in UNITS.glob("*.service")) == sorted(
        f"diecast-{name}.service" for name in MODULES
    )
    wanted = read(UNITS / "diecast.target")["Unit"]["Wants"].split()
    for name in MODULES:
        unit = read(UNITS / f"diecast-{name}.service")
        assert unit["Service"]["ExecStart"] == f"/usr/bin/diecast serve {name}"
        assert unit["Service"]["CapabilityBoundingSet"].strip()
        assert f"diecast-{name}.service" in wanted


def test_the_shared_part_which_systemd_reads_last_takes_nothing_back_from_a_unit() -> None:
    growing = {"RestrictAddressFamilies", "SystemCallFilter"}
    shared = set(read(COMMON)["Service"])
    for name in MODULES:
        assert shared & set(read(UNITS / f"diecast-{name}.service")["Service"]) <= growing


def test_systemd_waits_longer_than_we_do_before_it_kills() -> None:
    assert float(read(COMMON)["Service"]["TimeoutStopSec"]) > STOP_GRACE_S


def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    """With the program replaced by one that is there, because the units name where a package puts it."""
    units = tmp_path / "units"
    shutil.copytree(UNITS, units)
    for path in units.glob("*.service"):
        path.write_text(path.read_text().replace("/usr/bin/diecast", "/bin/true"))
    environ = {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"}
    names = sorted(str(path) for path in units.glob("diecast*") if path.is_file())
    command = ["systemd-analyze", "verify", "--man=no", *names]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    ours = [line for line in done.stderr.splitlines() if "diecast" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("name", MODULES)
def test_no_unit_is_more_exposed_than_medium(name: str, tmp_path: Path) -> None:
    """`systemd-analyze security` reads single files, so the shared part is put into each here."""
    merged = tmp_path / f"diecast-{name}.service"
    merged.write_text((UNITS / f"diecast-{name}.service").read_text() + COMMON.read_text())
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(merged)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= 5.0
