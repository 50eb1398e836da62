"""`python3 -m appliance.agent`, what the init of the initramfs starts. Its exit status is `session.Exit`,
but for FAILED, which has stood on the screen for its time then: the PC powers off."""

from __future__ import annotations

import os

from appliance.agent.consoles import Consoles
from appliance.agent.machine import Limits, Machine
from appliance.agent.session import Exit, run


def main() -> None:
    """Run once. Threads that hang in a dead mount must not keep the PC from going down, hence no ordinary exit."""
    machine = Machine()
    end = run(machine, Limits(), Consoles.open(machine))
    os._exit(Exit.POWER_OFF if end is Exit.FAILED else end)


if __name__ == "__main__":
    main()
