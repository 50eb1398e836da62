"""`python3 -m appliance.agent`: what the init of the initramfs starts; its exit status is `session.Exit`."""

from __future__ import annotations

import os

from appliance.agent.consoles import Consoles
from appliance.agent.machine import Limits, Machine
from appliance.agent.session import run


def main() -> None:
    """Run once. Threads that hang in a dead mount must not keep the PC from going down, hence no ordinary exit."""
    machine = Machine()
    os._exit(run(machine, Limits(), Consoles.open(machine)))


if __name__ == "__main__":
    main()
