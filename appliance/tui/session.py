"""Who sits at this console, what they may do, and the one way in which the console changes anything.

`Session.do` runs a verb of the store in a worker, writes the audit line, shows the error in words, and never blocks a
key. Screens call nothing of the store by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from appliance.errors import ApplianceError
from appliance.events import Role
from appliance.model import Operator
from appliance.tui import sentences
from appliance.tui.i18n import _
from appliance.tui.keys import ADMIN, OPERATOR

if TYPE_CHECKING:
    from appliance.store import Store
    from appliance.tui.app import ConsoleApp

T = TypeVar("T")
_SLOW_S = 1.0  # a change that takes longer is told of
_MAY: dict[Role, frozenset[str]] = {
    Role.VIEWER: frozenset({""}),
    Role.OPERATOR: frozenset({"", OPERATOR}),
    Role.ADMIN: frozenset({"", OPERATOR, ADMIN}),
}


class Session:
    """One person at one console."""

    def __init__(self, actor: str, role: Role = Role.ADMIN, *, language: str = "", read_only: bool = False) -> None:
        """`actor` is the login that started the console; until an operator signs in, the session is theirs.

        `language` is one that was asked for; empty: the operator's own, or the box's.
        """
        self.login = actor
        self.role = Role.VIEWER if read_only else role
        self.language = language
        self.read_only = read_only
        self.operator: Operator | None = None
        self._app: ConsoleApp | None = None

    def attach(self, app: ConsoleApp) -> None:
        """The console that this session works at."""
        self._app = app

    @property
    def app(self) -> ConsoleApp:
        """The console."""
        assert self._app is not None
        return self._app

    @property
    def name(self) -> str:
        """Whose session it is."""
        return self.operator.name if self.operator else self.login

    @property
    def actor(self) -> str:
        """As the audit trail has it: the operator, and the login where that is another."""
        if self.operator is None or self.operator.name == self.login:
            return self.name
        return f"{self.operator.name} at {self.login}"

    def sign_in(self, operator: Operator) -> None:
        """This operator has given the password."""
        self.operator = operator
        self.role = Role.VIEWER if self.read_only else operator.role
        if operator.language:
            self.language = operator.language

    def may(self, need: str) -> str:
        """Empty when this session may do what needs `need`, else a sentence that says why not."""
        if need in _MAY[self.role]:
            return ""
        if self.read_only:
            return _("This console is read-only: it shows, and changes nothing.")
        if need == ADMIN:
            return _("Only an admin may do that; {name} is no admin.").format(name=self.name)
        return _("{name} may look, but change nothing.").format(name=self.name)

    def may_not_yet(self, need: str) -> str:
        """Empty, or that the store was not read yet: before that nobody knows whether it has operators."""
        return "" if not need or self.app.asked_who else _("Reading the store ...")

    def do(
        self,
        action: str,
        detail: str | Callable[[T], str],
        work: Callable[[Store], T],
        *,
        said: str | Callable[[T], str] = "",
        then: Callable[[T], object] | None = None,
        failed: Callable[[ApplianceError], object] | None = None,
        need: str = OPERATOR,
    ) -> None:
        """Change something.

        `action` and `detail` are the audit line, in English (`"host edit"`, `"lab-07: notes"`); `detail` may be made
        from the result. `work` gets the store, in a worker. Afterwards, in the screen's own thread: `said` is shown for
        a moment, `then` gets the result. An `ApplianceError` goes to `failed` (a form shows it beside its fields), or
        is shown in the notice line.
        """
        refusal = self.may(need) or self.may_not_yet(need)
        if refusal:
            self.app.say(refusal, "alarm")
            return

        def change() -> T:
            store = self.app.model.store
            result = work(store)
            store.audit.record(self.actor, action, detail if isinstance(detail, str) else detail(result))
            return result

        async def run() -> None:
            try:
                result = await self._patiently(change)
            except ApplianceError as error:
                if failed is not None:
                    failed(error)
                else:
                    self.app.say(sentences.explain(error), "alarm")
                return
            self.app.model.poke()
            text = said if isinstance(said, str) else said(result)
            if text:
                self.app.say(text)
            if then is not None:
                self.app.when_open(lambda: then(result))

        self.app.run_worker(run(), group="changes", exclusive=False)

    def do_each(
        self,
        action: str,
        items: Sequence[T],
        detail: Callable[[T], str],
        verb: Callable[[Store, T], object],
        *,
        then: Callable[[int], object] | None = None,
        need: str = OPERATOR,
    ) -> None:
        """Change several things, each with its own audit line. What fails does not stop the others.

        Afterwards `then` gets how many were changed, and the first error is shown with the number of those that failed.
        """
        refusal = self.may(need) or self.may_not_yet(need)
        if refusal:
            self.app.say(refusal, "alarm")
            return

        def change() -> list[ApplianceError]:
            store, errors = self.app.model.store, []
            for item in items:
                try:
                    verb(store, item)
                    store.audit.record(self.actor, action, detail(item))
                except ApplianceError as error:
                    errors.append(error)
            return errors

        async def run() -> None:
            try:
                errors = await self._patiently(change)
            except ApplianceError as error:
                self.app.say(sentences.explain(error), "alarm")
                return
            self.app.model.poke()
            if then is not None:
                self.app.when_open(lambda: then(len(items) - len(errors)))
            if errors:
                text = sentences.explain(errors[0])
                if len(errors) > 1:
                    text = _("{n} failed. {first}").format(n=len(errors), first=text)
                self.app.say(text, "alarm")

        self.app.run_worker(run(), group="changes", exclusive=False)

    async def _patiently(self, change: Callable[[], T]) -> T:
        """Run `change` in a thread; say what it waits for when it takes long."""
        text = _("Another program is writing to the store: this waits for it ...")
        slow = asyncio.get_running_loop().call_later(_SLOW_S, self.app.say, text)
        try:
            return await asyncio.to_thread(change)
        finally:
            slow.cancel()

    def fetch(
        self,
        work: Callable[[Store], T],
        then: Callable[[T], object],
        *,
        failed: Callable[[ApplianceError], object] | None = None,
        group: str = "fetch",
    ) -> None:
        """Read on demand what is not in the snapshot: `work` in a worker, then `then` with what it found.

        A later call of the same `group` drops an earlier one that is not done: only the newest answer is wanted.
        """

        async def run() -> None:
            try:
                result = await asyncio.to_thread(lambda: work(self.app.model.store))
            except ApplianceError as error:
                if failed is not None:
                    failed(error)
                else:
                    self.app.say(sentences.explain(error), "alarm")
                return
            self.app.when_open(lambda: then(result))

        # Not `run()`: a later call may drop it before it begins. Textual's types take any callable for a plain one.
        self.app.run_worker(run, group=group, exclusive=True)  # type: ignore[arg-type]
