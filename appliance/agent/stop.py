"""One flag for "stop what you are doing", with the reason. Set once, from any thread; all that waits waits on it."""

from __future__ import annotations

import threading

from appliance.errors import ApplianceError


class Stop:
    """Not set until somebody gives a reason; the first reason stays."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._reason: ApplianceError | None = None

    def request(self, reason: ApplianceError) -> None:
        """Ask everybody to stop."""
        with self._lock:
            if self._reason is None:
                self._reason = reason
        self._event.set()

    def is_set(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()

    @property
    def reason(self) -> ApplianceError | None:
        """Why, or None while nobody asked."""
        return self._reason

    def check(self) -> None:
        """Raise the reason if there is one."""
        if self._reason is not None:
            raise self._reason

    def wait(self, seconds: float) -> None:
        """Sleep, unless or until somebody asks to stop: then raise the reason."""
        self._event.wait(max(0.0, seconds))
        self.check()
