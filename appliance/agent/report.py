"""The thread that tells the box once a second how far we are, sends the log, and hears whether to go on."""

from __future__ import annotations

import threading
import time
from collections import deque

from appliance.agent.client import Box, BoxAway, Refused
from appliance.agent.display import Display
from appliance.agent.machine import Limits
from appliance.agent.page import Meter
from appliance.agent.stop import Stop
from appliance.engine.capture import EngineProgress
from appliance.errors import ApplianceError, Cancelled, Unavailable
from appliance.events import TaskState
from appliance.wire import agentapi as api

_RATE_WINDOW_S = 10.0
_LINES_A_CALL = 200


class Reporter:
    """Reports of one task. `latest` may be called by any thread at any rate; the box hears of it once a second."""

    def __init__(self, box: Box, display: Display, kind: str, stop: Stop, limits: Limits) -> None:
        self._box, self._display, self._kind = box, display, kind
        self._stop, self._limits = stop, limits
        now = time.monotonic()
        self._begun = self._moved = self._heard = now
        self._state = EngineProgress("starting", 0, 0)
        self._phase = ""
        self._is_held = False
        self._samples: deque[tuple[float, int]] = deque()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="report", daemon=True)

    def start(self) -> None:
        """Begin to report."""
        self._thread.start()

    def close(self) -> None:
        """Stop reporting, and send what is left of the log if the box takes it."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(self._limits.call_s + 1)
        send_log(self._box, self._display)

    def latest(self, state: EngineProgress) -> None:
        """What the engine says about how far it is."""
        if state != self._state:
            self._moved = time.monotonic()
        self._state = state

    def hold(self, on: bool) -> None:
        """While it is on, we wait for others by the operator's wish: that nothing moves is no stall."""
        self._is_held, self._moved = on, time.monotonic()

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._report()
            except ApplianceError as reason:  # a refusal: the task has ended or belongs to another start
                self._stop.request(verdict(self._box, reason) if isinstance(reason, Refused) else reason)
                return
            self._ended.wait(self._limits.report_every_s)

    def _report(self) -> None:
        meter = self._meter()
        if meter.phase != "starting":
            self._display.progress(self._kind, meter)
        now = time.monotonic()
        try:
            answer = self._box.progress(
                api.Progress(meter.phase, meter.done_bytes, meter.total_bytes, meter.rate_bytes_s)
            )
            send_log(self._box, self._display)
        except Refused:
            raise
        except ApplianceError as error:
            if now - self._heard > self._limits.away_s:
                raise error if isinstance(error, BoxAway) else BoxAway(error.message, hint=error.hint) from None
            self._display.waiting(error.message.rstrip("."), self._limits.away_s - (now - self._heard))
        else:
            if now - self._heard > 2 * self._limits.report_every_s:
                self._display.waiting("")
            self._heard = now
            if answer.cancelled:
                raise verdict(self._box, Cancelled("The operator cancelled the task."))
        if now - self._moved > self._limits.stall_s and not self._is_held:
            raise Unavailable(
                f"Nothing has moved for {self._limits.stall_s / 60:.0f} min while {meter.phase}.",
                hint="Check the box's nfs service and this PC's disk, then start the PC from the network again.",
            )

    def _meter(self) -> Meter:
        state, now = self._state, time.monotonic()
        samples = self._samples
        if state.phase != self._phase:  # what happened before says nothing about its rate
            samples.clear()
            self._phase = state.phase
        samples.append((now, state.done_bytes))
        while len(samples) > 2 and now - samples[0][0] > _RATE_WINDOW_S:
            samples.popleft()
        passed = now - samples[0][0]
        speed = (state.done_bytes - samples[0][1]) / passed if passed > 0 else 0.0
        return Meter(state.phase, state.done_bytes, state.total_bytes, speed, now - self._begun)


def verdict(box: Box, otherwise: ApplianceError) -> ApplianceError:
    """Why the box wants no more of us: cancelled by the operator, or given up; `otherwise` if it says neither."""
    try:
        status = box.status(patient=False)
    except ApplianceError:
        return otherwise
    if status.state == TaskState.CANCELLED:
        return Cancelled("The operator cancelled the task.")
    if status.state == TaskState.FAILED and status.error:
        return Unavailable(status.error, hint=status.remedy)
    return otherwise


def send_log(box: Box, display: Display) -> None:
    """Send pending log lines. A box that does not take them gets them with the next report; a refusal drops them."""
    lines = display.take_pending()
    while lines:
        try:
            box.log(lines[:_LINES_A_CALL])
        except Refused:
            return
        except ApplianceError:
            display.give_back(lines)
            return
        lines = lines[_LINES_A_CALL:]
