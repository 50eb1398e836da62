"""The lab's wires: machines reach one another; what a killed run leaves behind is removed by the next, nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.command import ROOT, LabError, run
from tests.lab.network import LabNetwork, remove_stale

pytestmark = pytest.mark.netns


def namespaces() -> set[str]:
    folder = Path("/run/netns")
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def test_a_station_reaches_the_box_and_nothing_stays() -> None:
    with LabNetwork() as lab:
        station = lab.add_station("one", "10.77.0.9/24")
        run([*station, sys.executable, "-c", _CONNECT])
        assert any(name.startswith(lab.name) for name in namespaces())
    assert not any(name.startswith(lab.name) for name in namespaces())


# A refused connection proves that packets went both ways.
_CONNECT = """
import socket
s = socket.socket()
s.settimeout(5)
try:
    s.connect(("10.77.0.1", 9))
except ConnectionRefusedError:
    pass
else:
    raise SystemExit(1)
"""


def test_what_a_killed_run_left_is_removed_and_a_living_ones_is_not() -> None:
    script = (
        "from tests.lab.network import LabNetwork; import os, signal; n = LabNetwork(); print(n.name, flush=True); "
    )
    script += "os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    left = done.stdout.strip()
    assert left.startswith("diecast-lab-")
    with LabNetwork() as lab:  # its making removes what is stale
        assert left not in namespaces()
        assert f"{left}-box" not in namespaces()
        assert remove_stale() == []
        assert lab.name in namespaces()


def test_a_namespace_of_somebody_else_is_never_touched() -> None:
    other = f"lab-of-another-{os.getpid()}"
    run(["ip", "netns", "add", other])
    try:
        remove_stale()
        assert other in namespaces()
    finally:
        run(["ip", "netns", "del", other])


def test_a_command_that_fails_says_what_it_printed() -> None:
    with pytest.raises(LabError, match=r"status 3: .*no such thing"):
        run(["sh", "-c", "echo no such thing >&2; exit 3"])
