#!/bin/sh
# Make the Debian package in the folder $1 (see README.md) and print its path.
exec python3 -B "$(dirname "$0")/build.py" "$@"
