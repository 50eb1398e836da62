"""The program `diecast`: the one place that turns an error into a sentence, a remedy and an exit status.

A traceback means a defect. `--debug` shows one for every error. Exit statuses: `appliance.errors`.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from appliance.cli.program import Invocation
from appliance.errors import ApplianceError

INTERRUPTED = 128 + signal.SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name) and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console that cannot show a character must not end a command
    invocation = Invocation(sys.argv[1:] if argv is None else argv, os.environ)
    try:
        return invocation.run()
    except ApplianceError as error:
        if invocation.debug:
            traceback.print_exc()
        print(f"diecast: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is wrong, and Python must not complain at exit either.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        return 0


if __name__ == "__main__":
    sys.exit(main())
