#!/bin/sh
# Make the appliance's disk image in the folder $1 (see README.md).
exec python3 -B "$(dirname "$0")/build.py" "$@"
