"""Whom a log line is about: the host and the task at hand, noted beside the message wherever it is logged.

Rules: `about` opens a note, `tell` fills in what is found out later; both travel with the context (contextvars), so a
thread that is started with a copy of it writes into the same note. Messages themselves stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class About:
    """A host by its name, a task by its number; empty and None: neither."""

    host: str = ""
    task: int | None = None

    def covers(self, other: About) -> bool:
        """Whether a line about `other` is wanted by who asks for this; hosts' names differ in no letter's case."""
        return (not self.host or self.host.lower() == other.host.lower()) and self.task in (None, other.task)

    @property
    def fields(self) -> dict[str, str]:
        """As fields of the journal."""
        found = {FIELD_HOST: self.host, FIELD_TASK: "" if self.task is None else str(self.task)}
        return {name: value for name, value in found.items() if value}


FIELD_HOST, FIELD_TASK = "DIECAST_HOST", "DIECAST_TASK"


class _Note:
    """What is known so far."""

    def __init__(self, subject: About) -> None:
        self.subject = subject


_at_hand: ContextVar[_Note | None] = ContextVar("about", default=None)


@contextmanager
def about(*, host: str = "", task: int | None = None) -> Iterator[None]:
    """What is logged inside is about these; what is not named here stays as outside."""
    token = _at_hand.set(_Note(_with(current(), host, task)))
    try:
        yield
    finally:
        _at_hand.reset(token)


def tell(*, host: str = "", task: int | None = None) -> None:
    """Fill in the innermost note; without one, nothing."""
    note = _at_hand.get()
    if note is not None:
        note.subject = _with(note.subject, host, task)


def current() -> About:
    """The innermost note."""
    note = _at_hand.get()
    return About() if note is None else note.subject


def _with(subject: About, host: str, task: int | None) -> About:
    return About(host or subject.host, subject.task if task is None else task)
