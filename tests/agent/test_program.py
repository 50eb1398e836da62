"""The program as the initramfs has it: what it imports, and what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import appliance

ROOT = Path(appliance.__file__).parent.parent
_ALLOWED_OF_OURS = ("agent", "errors", "events", "model", "wire", "cast", "engine", "disk")


def run(*arguments: str) -> str:
    """Python in a process of its own, as fresh as in an initramfs."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_the_whole_agent_needs_nothing_but_the_standard_library_zstandard_and_blake3() -> None:
    script = (
        "import pkgutil, importlib, sys, appliance.agent\n"
        "for m in pkgutil.iter_modules(appliance.agent.__path__, 'appliance.agent.'): importlib.import_module(m.name)\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('appliance.')))"
    )
    foreign, ours = run("-S", "-c", f"import sys; sys.path += {sys.path!r}\n{script}").splitlines()
    third_party = {name for name in foreign.split() if not name.startswith("_")} - {"appliance"}
    assert third_party == {"blake3", "zstandard"}
    assert all(name.split(".")[1] in _ALLOWED_OF_OURS for name in ours.split()), ours


def test_it_starts_quickly() -> None:
    # CPU time: the machine may be busy with other things.
    script = "import time; t = time.process_time(); import appliance.agent.session; print(time.process_time() - t)"
    assert float(run("-c", script)) < 2


def test_the_dhcp_script_is_a_valid_shell_script_that_can_be_run() -> None:
    script = ROOT / "appliance/agent/udhcpc.sh"
    assert os.access(script, os.X_OK)
    for shell in (["sh"], ["busybox", "sh"]):
        subprocess.run([*shell, "-n", str(script)], check=True)
