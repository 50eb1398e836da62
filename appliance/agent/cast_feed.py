"""The receiver of a cast with its sockets and its clock: one thread listens and talks, others take whole chunks.

Rules: docs/cast-protocol.md section 6. `CastReceiver` is pure and not made for several threads; here one lock is around
it, held for microseconds.
"""

from __future__ import annotations

import random
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from appliance.agent.cast_net import CastSockets
from appliance.cast.assembly import Assembly
from appliance.cast.receiver import CastReceiver, Mode, Place
from appliance.engine.cast_restore import Arrival
from appliance.wire.cast import feedback_key

_LOOK_S = 0.25  # how often the thread looks whether it is to end
_REST_S = 0.02  # after DATA, before the next look: several runs then cost one waking
_RECEIVES = 64  # in a row, before FEEDBACK has its turn
_FAREWELLS = 3
_FAREWELL_S = 0.02


@dataclass(frozen=True, slots=True)
class Ways:
    """What the feed asks and tells."""

    token_hash: Callable[[], bytes]  # of the task's token, which a new check-in replaces
    on_mode: Callable[[Mode], None] = lambda mode: None  # called by the listening thread at each change
    stopped: Callable[[], bool] = lambda: False  # the task has been cancelled


class CastFeed:
    """`engine.cast_restore.Feed` of one cast. `start` and `close` it."""

    def __init__(self, place: Place, sockets: CastSockets, ways: Ways, *, most_by_nfs: int) -> None:
        self.receiver = CastReceiver(place, time.monotonic(), random.Random())
        self._sockets, self._ways, self._most_by_nfs = sockets, ways, most_by_nfs
        self._token_hash = ways.token_hash()
        self._by_nfs = 0  # chunks that somebody fetches now
        self._changed = threading.Condition(threading.Lock())
        self._mode: Mode | None = None
        self._error: Exception | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cast", daemon=True)

    def start(self) -> None:
        """Begin to listen and to talk."""
        self._thread.start()

    def close(self) -> None:
        """Say farewell (complete, or leaving) and stop."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(5)

    # What the engine's threads say: engine.cast_restore.Feed

    def take(self, wait_s: float) -> Arrival | None:
        """See `Feed`. Raises what ended the listening thread."""
        end = time.monotonic() + wait_s
        with self._changed:
            while True:
                if self._error is not None:
                    raise self._error
                now = time.monotonic()
                if self.receiver.ready:
                    part = self.receiver.ready.popleft()
                    return Arrival(part.chunk, part)
                for chunk in self.receiver.claim(now, min(1, self._most_by_nfs - self._by_nfs)):
                    self._by_nfs += 1
                    return Arrival(chunk, None)
                if now >= end or self.receiver.complete():
                    return None
                self._changed.wait(end - now)

    def complete(self) -> bool:
        """See `Feed`."""
        return self.receiver.complete()

    def have(self, chunk: int) -> None:
        """See `Feed`."""
        with self._changed:
            self.receiver.have(chunk)
            self._wake_if_complete()

    def want(self, chunk: int) -> None:
        """See `Feed`."""
        with self._changed:
            self.receiver.want(chunk)

    def done(self, arrival: Arrival) -> None:
        """See `Feed`."""
        with self._changed:
            if isinstance(arrival.part, Assembly):
                self.receiver.done(arrival.part)
            else:
                self._by_nfs -= 1
                self.receiver.have(arrival.chunk)
            self._wake_if_complete()

    def bad(self, arrival: Arrival) -> None:
        """See `Feed`."""
        with self._changed:
            if isinstance(arrival.part, Assembly):
                self.receiver.bad(arrival.part)
            else:
                self._by_nfs -= 1
                self.receiver.unclaim(arrival.chunk)

    def _wake_if_complete(self) -> None:
        if self.receiver.complete():
            self._changed.notify_all()

    # The listening thread

    def _run(self) -> None:
        poll = select.poll()
        for fd in (self._sockets.group_fd, self._sockets.talk_fd):
            poll.register(fd, select.POLLIN)
        try:
            while not self._closing.is_set() and not self._ways.stopped():
                wait_s = min(max(self.receiver.due - time.monotonic(), 0), _LOOK_S)
                is_drained = False
                for fd, _ in poll.poll(wait_s * 1000):
                    if fd == self._sockets.group_fd:
                        is_drained = self._group()
                    else:
                        self._answers()
                self._speak()
                self._tell_mode()
                if is_drained and self._sockets.may_rest:
                    time.sleep(_REST_S)
            self._farewell()
        except Exception as error:  # belongs to those who wait for chunks
            with self._changed:
                self._error = error
                self._changed.notify_all()
        finally:
            self._sockets.close()

    def _group(self) -> bool:
        """Takes in what is there; False when there is more."""
        for _ in range(_RECEIVES):
            got = self._sockets.receive()
            if got is None:
                return True
            with self._changed:
                before = len(self.receiver.ready)
                self.receiver.frames(*got, time.monotonic())
                if len(self.receiver.ready) > before:
                    self._changed.notify()
        return False

    def _answers(self) -> None:
        while (frame := self._sockets.answer()) is not None:
            with self._changed:
                self.receiver.control(frame, time.monotonic())

    def _speak(self) -> None:
        now = time.monotonic()
        if now < self.receiver.due:
            return
        with self._changed:
            self._rekey()
            frame = self.receiver.feedback(now, self._sockets.unread())
        self._sockets.say(frame)

    def _rekey(self) -> None:
        """After a new check-in the box knows this PC by its new token; the numbers of messages go on."""
        found = self._ways.token_hash()
        if found != self._token_hash:
            self._token_hash = found
            self.receiver.place = replace(self.receiver.place, key=feedback_key(found))

    def _tell_mode(self) -> None:
        mode = self.receiver.mode(time.monotonic())
        if mode is not self._mode:
            self._mode = mode
            self._ways.on_mode(mode)

    def _farewell(self) -> None:
        for _ in range(_FAREWELLS):
            with self._changed:
                self._rekey()
                frame = self.receiver.farewell()
            self._sockets.say(frame)
            time.sleep(_FAREWELL_S)
