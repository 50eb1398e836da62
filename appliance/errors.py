"""The one way to fail: an error names the thing, both values, and what to do.

A subclass stands for an exit status of `diecast`; a traceback on a terminal means a bug.
Exit statuses follow `sysexits.h` where one fits.
"""

from __future__ import annotations

from typing import ClassVar


class ApplianceError(Exception):
    """A failure that the operator can understand and mend.

    `message` is one sentence about what is wrong with which thing; `hint` is one sentence about what to do.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class UsageError(ApplianceError):
    """The command was asked for something that makes no sense as written (EX_USAGE)."""

    exit_status = 64


class BadData(ApplianceError):
    """Something stored or received is not what its format says (EX_DATAERR)."""

    exit_status = 65


class NotFound(ApplianceError):
    """The named host, image, version or task does not exist."""

    exit_status = 66


class Unavailable(ApplianceError):
    """A service, device or tool that is needed does not answer or is missing (EX_UNAVAILABLE)."""

    exit_status = 69


class Conflict(ApplianceError):
    """The thing exists already, is busy, or is in a state that does not allow this."""

    exit_status = 75


class NoSpace(ApplianceError):
    """A disk, a range or a quota has no room left."""

    exit_status = 73


class ConfigError(ApplianceError):
    """The settings file cannot be used (EX_CONFIG)."""

    exit_status = 78


class Cancelled(ApplianceError):
    """The operator cancelled the task."""

    exit_status = 130
