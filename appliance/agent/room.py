"""The bound on what lies in a capture's staging folder."""

from __future__ import annotations

import threading


class Room:
    """How much may still be put into the staging folder.

    The box says once a second how much it has not taken yet. What was put since that report was sent is added, so that
    the folder never holds more than its limit, however late the answer is. Limit 0: none.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._put = 0  # bytes put by us, ever
        self._base = 0  # what the folder held at `_base_put`, as the box said
        self._base_put = 0

    def mark(self) -> int:
        """To be taken before a report is sent, and given to `reported` with its answer."""
        with self._lock:
            return self._put

    def reported(self, mark: int, staged_bytes: int) -> bool:
        """The box's word on what lies in the folder. Returns whether that has changed."""
        with self._lock:
            changed = (self._base, self._base_put) != (staged_bytes, mark)
            self._base, self._base_put = max(0, staged_bytes), mark
            return changed

    def take(self, size_bytes: int) -> bool:
        """Claim room for one file; False when it has to wait. A file larger than the limit may go in alone."""
        with self._lock:
            held = self._base + self._put - self._base_put
            if self.limit_bytes and held and held + size_bytes > self.limit_bytes:
                return False
            self._put += size_bytes
            return True
