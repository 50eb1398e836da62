"""The agent's calls to the box: `wire.agentapi` over HTTP/1.1, with patience.

A box that is away (restarting, its disk full, its network down) is asked again with growing pauses for `Limits.away_s`.
401: check in again, the token may have been lost with a restart. 403: the box means it; stop. One `Box` serves several
threads: each has its own connection, and only one checks in again.
"""

from __future__ import annotations

import hashlib
import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from appliance.agent.cmdline import BootLine
from appliance.agent.machine import Limits
from appliance.agent.stop import Stop
from appliance.errors import ApplianceError, BadData, Conflict, Unavailable
from appliance.wire import agentapi as api

_MOST_ANSWER_BYTES = 1 << 29  # an index of 2^24 windows
_CHECK_INS_A_CALL = 3


class BoxAway(Unavailable):
    """The box did not answer, for as long as we were willing to wait."""


class Refused(Conflict):
    """The box answered, and the answer is no. `status` is HTTP's."""

    def __init__(self, status: int, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    retry_after_s: float | None


class Box:
    """The box, as seen from this PC."""

    def __init__(
        self,
        line: BootLine,
        who: api.CheckIn,
        limits: Limits,
        stop: Stop,
        on_wait: Callable[[str, float], None] = lambda why, left_s: None,
    ) -> None:
        """`on_wait` is told why we wait and for how many seconds at most."""
        self.line = line
        self._who = who
        self._limits = limits
        self._stop = stop
        self._on_wait = on_wait
        self._token = ""
        self._lock = threading.Lock()
        self._local = threading.local()
        self._connections: set[http.client.HTTPConnection] = set()

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in tuple(self._connections):
            connection.close()

    def check_in(self, *, patient: bool = True) -> api.CheckInAnswer:
        """Say who we are; the answer's token is used from now on. Raises `BoxAway`, `Refused`, `BadMessage`."""
        body = self._call("POST", "/checkin", self._who.to_json(), token=None, patient=patient)
        answer = api.CheckInAnswer.from_json(body)
        self._token = answer.token
        return answer

    @property
    def token_hash(self) -> bytes:
        """SHA-256 of the token, all that the box keeps of it. A cast's FEEDBACK is proved by it."""
        return hashlib.sha256(self._token.encode()).digest()

    def inventory(self, found: api.Inventory) -> None:
        """Send what is in this PC."""
        self._call("POST", "/inventory", found.to_json())

    def register(self, name: str) -> str:
        """Become a host of that name, or of one from the pattern; return the name given."""
        return api.Registered.from_json(self._call("POST", "/register", api.Register(name).to_json())).host_name

    def held(self) -> bool:
        """Whether the operator has yet to confirm this PC."""
        return api.Held.from_json(self._call("GET", "/held")).held

    def task(self) -> api.TaskOrder | None:
        """The task of this PC, if any. The box answers 503 until the exports for it are there."""
        body = self._call("GET", "/task")
        return api.TaskOrder.from_json(body) if body else None

    def missing(self, ids: list[bytes]) -> list[bytes]:
        """Those of `ids` that the box does not have, in batches of what one call may hold."""
        absent: list[bytes] = []
        for start in range(0, len(ids), api.MAX_MISSING_IDS):
            batch = ids[start : start + api.MAX_MISSING_IDS]
            absent += api.split_ids(self._call("POST", "/chunks/missing", b"".join(batch)))
        return absent

    def put_index(self, name: str, content: bytes) -> None:
        """Send one index of the capture."""
        self._call("PUT", f"/capture/index/{name}", content)

    def put_manifest(self, content: bytes) -> None:
        """Send the manifest of the capture, after its indexes."""
        self._call("PUT", "/capture/manifest", content)

    def manifest(self) -> bytes:
        """The manifest of the version to deploy."""
        return self._call("GET", "/version/manifest")

    def index(self, name: str) -> bytes:
        """One index of the version to deploy."""
        return self._call("GET", f"/version/index/{name}")

    def progress(self, state: api.Progress) -> api.ProgressAnswer:
        """Report once, without patience: the next report is due in a second. Raises `BoxAway` at once."""
        return api.ProgressAnswer.from_json(self._call("POST", "/progress", state.to_json(), patient=False))

    def log(self, lines: list[str]) -> None:
        """Add lines to the task's log, without patience."""
        self._call("POST", "/log", api.Log(lines).to_json(), patient=False)

    def result(self, result: api.Result, *, patient: bool = True) -> None:
        """Say how our part ended. A repeated call whose first answer was lost is refused with 409: see `status`."""
        self._call("POST", "/result", result.to_json(), patient=patient)

    def status(self, *, patient: bool = True) -> api.Status:
        """Where the task stands."""
        return api.Status.from_json(self._call("GET", "/status", patient=patient))

    def _call(
        self, method: str, path: str, body: bytes = b"", *, token: str | None = "", patient: bool = True
    ) -> bytes:
        """Make one call until it is answered. `token` None: a call that needs none."""
        deadline = time.monotonic() + self._limits.away_s
        pause, check_ins, waited = self._limits.retry_first_s, 0, False
        while True:
            used = None if token is None else self._token
            try:
                answer = self._once(method, path, body, used)
            except (OSError, http.client.HTTPException) as error:
                self._drop_connection()
                why, wait = f"does not answer ({_words(error)})", pause
            else:
                if waited and answer.status < 500:
                    self._on_wait("", 0)
                    waited = False
                if answer.status < 300:
                    return answer.body
                if answer.status < 500:
                    check_ins += 1
                    if used is None or not self._renew(answer.status, used, check_ins, patient):
                        raise _refusal(method, path, answer)
                    continue
                why, wait = f"is not ready ({answer.status})", answer.retry_after_s or pause
            left = deadline - time.monotonic()
            if patient:
                self._stop.check()
            if not patient or left <= 0:
                raise self._away(why, patient)
            if pause > self._limits.retry_first_s:  # once is nothing: an idle connection that the box had closed
                waited = True
                self._on_wait(f"The box {self.line.url} {why}", left)
            self._stop.wait(min(wait, left))
            pause = min(pause * 2, self._limits.retry_most_s)

    def _away(self, why: str, patient: bool) -> BoxAway:
        span = f" for {self._limits.away_s / 60:.0f} min" if patient else ""
        return BoxAway(
            f"The box {self.line.url} {why}{span}.",
            hint="Check that its http service runs, then start this PC from the network again.",
        )

    def _renew(self, status: int, used: str, check_ins: int, patient: bool) -> bool:
        """After 401 or 403: whether it is worth asking again with another token."""
        if status not in (401, 403) or check_ins > _CHECK_INS_A_CALL:
            return False
        with self._lock:
            if self._token != used:
                return True  # another thread has checked in since; its token may have ended ours
            if status == 403:
                return False
            self.check_in(patient=patient)
            return True

    def _once(self, method: str, path: str, body: bytes, token: str | None) -> _Answer:
        headers = {"Content-Length": str(len(body))} if method != "GET" else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection = self._connection()
        connection.request(method, api.PREFIX + path, body=body or None, headers=headers)
        response = connection.getresponse()
        content = response.read(_MOST_ANSWER_BYTES + 1)
        if len(content) > _MOST_ANSWER_BYTES:
            self._drop_connection()
            raise BadData(f"The box answers {path} with more than {_MOST_ANSWER_BYTES} bytes.")
        wait = response.getheader("Retry-After", "")
        return _Answer(response.status, content, float(min(int(wait), 60)) if wait.isdecimal() else None)

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self.line.host, self.line.port, timeout=self._limits.call_s)
            self._local.connection = connection
            self._connections.add(connection)
        return connection

    def _drop_connection(self) -> None:
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._connections.discard(connection)
            self._local.connection = None


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _refusal(method: str, path: str, answer: _Answer) -> ApplianceError:
    """The box's own words where it gave some."""
    try:
        problem = api.Problem.from_json(answer.body)
        return Refused(answer.status, problem.error, hint=problem.remedy)
    except api.BadMessage:
        pass
    if answer.status in (401, 403):
        return Refused(
            answer.status,
            "The box no longer accepts this PC's key for its task.",
            hint="Another start of this PC may have taken the task over; otherwise start it from the network again.",
        )
    return Refused(
        answer.status,
        f"The box refuses {method} {path} with HTTP {answer.status}.",
        hint="Check that box and agent are of one version, and read the box's http log.",
    )
