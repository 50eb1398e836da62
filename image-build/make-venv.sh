#!/bin/bash
# Make or refresh the virtual environment $1 with the package in editable form and the pinned versions.
set -euo pipefail
venv=$1
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
log=build/pip.log
"$venv/bin/pip" install -q --disable-pip-version-check -c constraints.txt -e '.[dev]' >"$log" 2>&1 || {
    tail -20 "$log"
    echo "The Python packages could not be installed; the whole log is $log." >&2
    exit 1
}
