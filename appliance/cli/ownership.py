"""What root made at the command line in folders of another user is given to that user.

The services run as `diecast`, to whom the store and the image store belong. Root at the command line may read and write
anywhere (an export into its home, a backup on any disk), so it stays root; but a file of root's left in those folders
could be in the services' way: afterwards each belongs to whom its top folder belongs to.
References: openat(2), fchownat(2): names are looked up in open folders, symbolic links are never followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def give_back(folders: Iterable[Path]) -> int:
    """Give what belongs to root below each folder to the folder's owner; returns how many. For root alone.

    Nothing is done for a folder of root's own. Files with several names are left alone: one of them may be elsewhere.
    """
    return sum(map(_give_back, folders)) if os.geteuid() == 0 else 0


def _give_back(top: Path) -> int:
    try:
        owner = os.stat(top, follow_symlinks=False)
    except OSError:
        return 0
    if owner.st_uid == 0:
        return 0
    given = 0
    for _path, folders, files, handle in os.fwalk(top, follow_symlinks=False):
        for name in (*folders, *files):
            with suppress(OSError):  # it has gone meanwhile
                found = os.stat(name, dir_fd=handle, follow_symlinks=False)
                several = found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode)
                if found.st_uid == 0 and not several:
                    os.chown(name, owner.st_uid, owner.st_gid, dir_fd=handle, follow_symlinks=False)
                    given += 1
    return given
