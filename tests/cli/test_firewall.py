"""`diecast config --firewall`: the rules of the settings in force, printed or applied."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import Diecast
from tests.services.dhcp_wires import Wires

REPOSITORY = Path(__file__).parents[2]


def test_the_rules_follow_the_mode_that_is_in_force(diecast: Diecast) -> None:
    assert "4011" not in diecast("config", "--firewall").out
    diecast("setting", "set", "dhcp.mode", "proxy")
    said = diecast("config", "--firewall")
    assert said.status == 0
    assert "udp dport 4011 accept" in said.out


def test_there_must_be_something_to_apply(diecast: Diecast) -> None:
    assert diecast("config", "--apply").status == 64


def test_applying_replaces_the_rules_that_the_kernel_has(config: Path) -> None:
    """With what the unit leaves it: no privilege but that of the network."""
    with Wires() as wires:
        rights = ["--bounding-set=-all,+net_admin", "--inh-caps=-all,+net_admin", "--ambient-caps=-all,+net_admin"]
        limited = ["setpriv", "--no-new-privs", "--securebits=+noroot", *rights]
        words = [*wires.box, *limited, sys.executable, "-m", "appliance", "--config", str(config)]
        environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        for _ in range(2):
            subprocess.run([*words, "config", "--firewall", "--apply"], check=True, env=environ, timeout=60)
        listed = subprocess.run([*wires.box, "nft", "list", "ruleset"], capture_output=True, text=True, check=True)
    assert listed.stdout.count("jump lab") == 1
    assert 'iifname "lo" jump lab' in listed.stdout
