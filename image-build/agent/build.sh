#!/bin/sh
# Make the PCs' loaders, kernel and initrd in the folder $1 (see README.md).
exec python3 -B "$(dirname "$0")/build.py" "$@"
