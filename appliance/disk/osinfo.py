"""Which operating system a partition holds: a name for people, read without mounting. Not knowing is no error.

Linux: PRETTY_NAME of /etc/os-release, through `debugfs` (opens read-only, replays nothing). Windows: the version of its
kernel, through `ntfscat` (never writes). References: os-release(5), VS_FIXEDFILEINFO.
"""

from __future__ import annotations

import re
import shlex
import struct
import subprocess
from pathlib import Path

_TIMEOUT_S = 20
_PRETTY = re.compile(rb"^PRETTY_NAME=(.*)$", re.MULTILINE)
_FIXED_FILE_INFO = struct.pack("<II", 0xFEEF04BD, 0x00010000)  # signature, structure version
_WINDOWS_11_BUILD = 22000
_MAX_KERNEL_BYTES = 64 << 20


def name_of(path: Path, kind: str) -> str:
    """The system in the partition at `path` whose file system is `kind`; empty when there is none or it is unknown."""
    if kind in ("ext2", "ext3", "ext4"):
        for file in ("/etc/os-release", "/usr/lib/os-release"):
            name = linux_name(_output("debugfs", "-R", f"cat {file}", str(path)))
            if name:
                return name
    if kind == "ntfs":
        return windows_name(_output("ntfscat", str(path), "/Windows/System32/ntoskrnl.exe"))
    return ""


def linux_name(os_release: bytes) -> str:
    """PRETTY_NAME of an os-release file, or nothing."""
    match = _PRETTY.search(os_release)
    if not match:
        return ""
    try:
        words = shlex.split(match[1].decode("utf-8", "replace"))
    except ValueError:
        return ""
    return words[0][:200] if words else ""


def windows_name(kernel: bytes) -> str:
    """Windows and its version from the resources of ntoskrnl.exe, or nothing."""
    at = kernel.find(_FIXED_FILE_INFO)
    if at < 0 or at + 16 > len(kernel):
        return ""
    high, low = struct.unpack_from("<II", kernel, at + 8)
    major, minor, build = high >> 16, high & 0xFFFF, low >> 16
    product = "11" if major == 10 and build >= _WINDOWS_11_BUILD else str(major)
    return f"Windows {product} ({major}.{minor}.{build})"


def _output(*command: str) -> bytes:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return done.stdout[:_MAX_KERNEL_BYTES] if done.returncode == 0 else b""
