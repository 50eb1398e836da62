"""Runs services as `diecast serve` does, for tests that kill them: `python -m tests.services.run_service FILE NAME`."""

from __future__ import annotations

import sys
from pathlib import Path

from appliance.config import load
from appliance.services.runtime import run_services, set_up_logging
from appliance.store import Store


def main(config: Path, names: list[str]) -> None:
    """Run the named services until SIGTERM."""
    settings = load(config)
    set_up_logging(settings.log.level)
    with Store.open(settings.paths.database) as store:
        run_services(names, settings, store)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
