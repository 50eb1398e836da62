"""Each service gets ready with the capabilities that its unit leaves it, and without memory both written and run.

The user diecast is played by user 0 without root's privileges (SECBIT_NOROOT, capabilities(7)): it owns the folders as
diecast does, and may read the interpreter wherever that lies.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.services.runtime import MODULES
from tests.services.dhcp_wires import BOX, Wires
from tests.systemd.units import UNITS, one, read

REPOSITORY = Path(__file__).parents[2]
PATHS = ("state", "images", "boot", "run")
STOPPED_S = 60.0

# PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN, which is what MemoryDenyWriteExecute= is on newer kernels; inherited.
DENY = "import ctypes, os, sys; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0); os.execvp(sys.argv[1], sys.argv[1:])"


@pytest.fixture
def box() -> Iterator[tuple[Wires, Path]]:
    """A wire, and a folder with settings, state and images."""
    folder = Path(tempfile.mkdtemp(prefix="diecast-rights-"))
    try:
        for name in PATHS:
            (folder / name).mkdir()
        paths = ", ".join(f'{name} = "{folder / name}"' for name in PATHS)
        (folder / "diecast.toml").write_text(
            f"""
            paths = {{ {paths} }}
            network.interfaces = ["{BOX}"]
            dhcp.server_probe_s = 0
            nfs.backend = "ganesha"
            [[dhcp.subnet]]
            network = "10.77.0.0/16"
            range_first = "10.77.1.1"
            range_last = "10.77.1.9"
            """
        )
        with Wires() as wires:
            yield wires, folder
    finally:
        shutil.rmtree(folder)


def as_the_unit_says(name: str) -> list[str]:
    """What stands before the command line of the service to run it with the rights of its unit."""
    service = read(UNITS / f"diecast-{name}.service")["Service"]
    capabilities = one(service, "CapabilityBoundingSet").lower().split()
    bounds = ",".join(["-all", *(f"+{capability.removeprefix('cap_')}" for capability in capabilities)])
    words = ["setpriv", "--no-new-privs", f"--bounding-set={bounds}", f"--inh-caps={bounds}"]
    if "User" in service:
        words += ["--securebits=+noroot,+noroot_locked", f"--ambient-caps={bounds}"]
    return [*words, sys.executable, "-c", DENY]


@pytest.mark.parametrize("name", MODULES)
def test_a_service_gets_ready_with_no_more_than_its_unit_leaves_it(name: str, box: tuple[Wires, Path]) -> None:
    wires, folder = box
    command = [sys.executable, "-m", "appliance", "--config", str(folder / "diecast.toml"), "serve", name]
    environ = {**os.environ, "JOURNAL_STREAM": "1:1", "PYTHONDONTWRITEBYTECODE": "1"}
    words = [*wires.box, *as_the_unit_says(name), *command]
    said = []
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY, env=environ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                said.append(line)
                if line.strip().endswith(f"{name} is ready"):
                    break
            else:
                pytest.fail("".join(said))
        finally:
            process.terminate()
        rest = process.communicate(timeout=STOPPED_S)[1]
    text = "".join(said) + rest
    assert process.returncode == 0, text
    refused = [line for line in text.splitlines() if "not permitted" in line or "denied" in line]
    assert refused == []


def test_without_its_capabilities_a_service_does_not_get_ready(box: tuple[Wires, Path]) -> None:
    """So the rights above are those that are counted: user 0 alone opens no port below 1024."""
    wires, folder = box
    words = [word for word in as_the_unit_says("tftp") if not word.startswith("--ambient")]
    command = [sys.executable, "-m", "appliance", "--config", str(folder / "diecast.toml"), "serve", "tftp"]
    done = subprocess.run([*wires.box, *words, *command], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 69
    assert "Permission denied" in done.stderr
