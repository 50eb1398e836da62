"""What a command works with: settings, store and terminal, each opened when it is first needed."""

from __future__ import annotations

import getpass
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from appliance import config
from appliance.errors import Cancelled, ConfigError, Unavailable, UsageError

if TYPE_CHECKING:
    from appliance.engine.chunkstore import ChunkStore
    from appliance.store import Store

_DEFAULT_WIDTH = 80
_DEFAULT_HEIGHT = 25


class Context:
    """Opened once a command line; `close` when it has run."""

    def __init__(self, config_path: Path, environ: Mapping[str, str]) -> None:
        self.config_path = config_path
        self._environ = environ
        self._file_settings: config.Settings | None = None
        self._settings: config.Settings | None = None
        self._store: Store | None = None
        self.unread: Unavailable | None = None  # why the store's settings are not known
        self.used_images = False  # the image store was opened, and may have been written to

    @property
    def file_settings(self) -> config.Settings:
        """What the settings file says. Raises `ConfigError`."""
        if self._file_settings is None:
            self._file_settings = config.load(self.config_path)
        return self._file_settings

    @property
    def settings(self) -> config.Settings:
        """The settings in force: the file's, with what the store overrides. Raises `ConfigError`.

        A store that is not there yet overrides nothing and is not made for this. From one that cannot be opened nothing
        is taken either, and `unread` says why: whoever needs the store fails with that, `doctor` can go on.
        """
        if self._settings is None:
            from appliance import overrides

            self._settings = base = self.file_settings
            if _may_exist(base.paths.database):
                try:
                    self._settings = overrides.in_force(self.store, base)
                except Unavailable as error:
                    self.unread = error
                except ConfigError:
                    self._settings = None
                    raise
        return self._settings

    @property
    def store(self) -> Store:
        """The store. Raises `Unavailable`."""
        if self._store is None:
            self._store = self.open_store()
        return self._store

    def open_store(self) -> Store:
        """A store of the caller's own, to be closed by it. Raises `Unavailable`."""
        from appliance.store import Store

        return Store.open(self.file_settings.paths.database)

    def chunk_store(self) -> ChunkStore:
        """The image store on disk. Raises `Unavailable` or `NoSpace`."""
        from appliance.engine.chunkstore import ChunkStore

        self.used_images = True
        return ChunkStore(self.settings.paths.images)

    def close(self) -> None:
        """Close what was opened, and give what root made to whom it belongs (`cli.ownership`)."""
        if self._store is not None:
            self._store.close()
        if self._file_settings is not None and os.geteuid() == 0:
            from appliance.cli.ownership import give_back

            paths = self._file_settings.paths
            give_back([paths.state, *([paths.images] if self.used_images else [])])

    @property
    def logs_to_journal(self) -> bool:
        """Whether journald reads our standard error (systemd.exec(5))."""
        return "JOURNAL_STREAM" in self._environ

    # -- the terminal

    @property
    def is_terminal(self) -> bool:
        """Whether output goes to a terminal that can move its cursor."""
        return sys.stdout.isatty() and self._environ.get("TERM", "dumb") != "dumb"

    @property
    def can_ask(self) -> bool:
        """Whether somebody is there to answer."""
        return sys.stdin is not None and sys.stdin.isatty()

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None when output goes to a file or a pipe and lines may be of any length."""
        return shutil.get_terminal_size((_DEFAULT_WIDTH, _DEFAULT_HEIGHT)).columns if sys.stdout.isatty() else None

    @property
    def height(self) -> int:
        """Lines of the terminal."""
        return shutil.get_terminal_size((_DEFAULT_WIDTH, _DEFAULT_HEIGHT)).lines

    def say(self, text: str = "") -> None:
        """Print a result."""
        print(text, flush=True)

    def note(self, text: str) -> None:
        """Print something that is not the result: a warning, a hint."""
        print(text, file=sys.stderr, flush=True)

    def confirm(self, question: str) -> None:
        """Ask; go on only after a yes. Raises `Cancelled` after anything else, `UsageError` when nobody is there."""
        if not self.can_ask:
            raise UsageError("This needs a yes, and there is no terminal to ask at.", hint="Add --yes to go ahead.")
        try:
            answer = input(f"{question} [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in {"y", "yes"}:
            raise Cancelled("Nothing was done.")

    def ask_secret(self, question: str) -> str:
        """Ask twice for something that is not shown. Raises `UsageError` when nobody is there or the answers differ."""
        if not self.can_ask:
            raise UsageError("There is no terminal to ask for the password at.", hint="Give it with --password-stdin.")
        first = getpass.getpass(f"{question}: ")
        if getpass.getpass("Once more: ") != first:
            raise UsageError("The two are not the same; nothing was changed.", hint="Try again.")
        return first

    def record(self, action: str, detail: str) -> None:
        """Write into the audit trail who did what."""
        self.store.audit.record(self.actor, action, detail)

    @property
    def actor(self) -> str:
        """Who runs this: the login behind sudo or su, and where from."""
        name = self._environ.get("SUDO_USER") or self._environ.get("LOGNAME") or self._environ.get("USER")
        remote = self._environ.get("SSH_CONNECTION", "").split(" ")[0]
        return (name or f"uid {os.getuid()}") + (f" from {remote}" if remote else "")


def _may_exist(path: Path) -> bool:
    """Whether there is such a file; also when that is not ours to know, as for a user who may not enter its folder."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
