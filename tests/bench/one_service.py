"""Run one service of a settings file in the foreground, as `diecast serve NAME` does."""

from __future__ import annotations

import sys
from pathlib import Path

from appliance.config import load
from appliance.services.runtime import run_services, set_up_logging
from appliance.store import Store


def main() -> None:
    settings = load(Path(sys.argv[1]))
    set_up_logging(settings.log.level)
    with Store.open(settings.paths.database) as store:
        run_services(sys.argv[2:], settings, store)


if __name__ == "__main__":
    main()
