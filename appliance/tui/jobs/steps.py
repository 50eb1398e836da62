"""What every guided job has: its questions one a page, the whole path with its answers above, one way on and back.

- A `Page` asks one question. Its widgets are made when it is turned to; what was answered is kept in `job.answers`,
  plain values by name, so that going back, a change of language and taking a job up again lose nothing.
- Enter goes on, Esc goes back a question, ^Q leaves the job: what was answered is kept for this console, and the same
  key takes it up again.
- A `LIVE` page shows what is happening in the store. Esc leaves it, and nothing stops by that.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar
from weakref import WeakKeyDictionary

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Key as KeyEvent
from textual.widget import Widget
from textual.widgets import Input

from appliance.tui import keys
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens.base import OverScreen
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.forms import FormRows
from appliance.tui.widgets.glyphs import clean, fit
from appliance.tui.widgets.lines import Line, Lines, cut, spread
from appliance.tui.widgets.rowlist import RowList
from appliance.tui.widgets.status import OneLine, rule

if TYPE_CHECKING:
    from textual.app import App

    from appliance.tui.app import ConsoleApp
    from appliance.tui.session import Session

J = TypeVar("J", bound="JobScreen")
_MOST_QUESTION = 30  # cells of a question in the path

LATER = dataclasses.replace(
    keys.named("leave", N_("Later"), N_("Leave this job; its key takes it up again where it was")),
    key="ctrl+q,ctrl+c",
    shown="^Q",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Draft:
    """A job that was left before its end: the page, and what was answered."""

    at: str
    answers: dict[str, Any]


_drafts: WeakKeyDictionary[App[Any], dict[str, Draft]] = WeakKeyDictionary()


class Page(Generic[J]):
    """One question of a job."""

    NAME: ClassVar[str]
    TITLE: ClassVar[str]  # the question, message id
    ABOUT: ClassVar[str] = ""  # message id, for the help page
    NEXT: ClassVar[str] = N_("Next")  # what Enter does, message id
    KEYS: ClassVar[tuple[Key, ...]] = ()  # each with a method `do_<name>`
    LIVE: ClassVar[bool] = False

    def __init__(self, job: J) -> None:
        self.job = job

    @property
    def console(self) -> ConsoleApp:
        """The application."""
        return self.job.console

    @property
    def session(self) -> Session:
        """Who sits here."""
        return self.job.session

    @property
    def snapshot(self) -> Snapshot:
        """The newest picture."""
        return self.job.snapshot

    @property
    def answers(self) -> dict[str, Any]:
        """What was answered so far."""
        return self.job.answers

    def applies(self) -> bool:
        """Whether the question is asked at all, after the answers before it."""
        return True

    def answer(self) -> str:
        """What was answered, in words, for the path."""
        return ""

    def widgets(self) -> Iterable[Widget]:
        """What the page shows, in the language in use."""
        raise NotImplementedError

    def opened(self) -> None:
        """The widgets are there."""

    def keep(self) -> None:
        """Put what stands in the widgets into the answers: the page is about to go."""

    def show(self, snapshot: Snapshot) -> None:
        """Draw this picture; as `ConsoleScreen.show`."""

    def main_list(self) -> RowList[Any] | None:
        """The list that `/` filters."""
        return None

    def own_keys(self) -> list[Key]:
        """Which of `KEYS` do something now."""
        return list(self.KEYS)

    def next_label(self) -> str:
        """What Enter does now, as a message id; empty: nothing."""
        return self.NEXT

    async def enter(self) -> None:
        """Enter, where no widget takes it."""
        await self.job.forward()

    async def row_opened(self, row: Any) -> None:
        """Enter on a row of a list."""
        await self.enter()

    def moved(self) -> None:
        """The cursor of a list stands on another row, or marks have changed."""

    async def submitted(self, values: dict[str, Any]) -> None:
        """Enter in a form whose every field is sound."""
        self.answers.update(values)
        await self.job.forward()

    def changed(self, name: str, value: str | bool) -> None:
        """A field of a form has another value."""

    def typed(self, text: str) -> None:
        """A text field outside a form has another value."""

    def key(self, event: KeyEvent) -> None:
        """A key that no widget took."""


class _Path(Lines):
    """All questions with their answers, the one at hand marked."""

    def __init__(self, job: JobScreen) -> None:
        super().__init__(id="path")
        self._job = job

    def line_count(self) -> int:
        return len(self._job.pages)

    def make_line(self, index: int, width: int) -> Line:
        page, here = self._job.pages[index], self._job.page
        at = self._job.pages.index(here)
        cells = min(_MOST_QUESTION, max(len(_(each.TITLE)) for each in self._job.pages))
        role = "strong" if page is here else "" if index < at else "dim"
        sign = "▸" if page is here else " "
        answer = page.answer() if index < at or page.LIVE else ""
        if index < at and not answer and not page.applies():
            answer = "─"
        head = f" {sign} {index + 1} {fit(_(page.TITLE), cells)}  "
        return cut(((head, role), (clean(answer), "" if page is not here else "strong")), width)


class JobScreen(OverScreen):
    """See the module. Subclasses name their `PAGES`, the last of which may be `LIVE`."""

    TITLE: ClassVar[str]  # message id; Textual's own is not shown anywhere
    NAME: ClassVar[str]
    NEED: ClassVar[str] = keys.OPERATOR  # whose job it is; everybody may look at its live page
    PAGES: ClassVar[tuple[type[Page[Any]], ...]] = ()
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "enter", show=False)]
    DEFAULT_CSS = """
    JobScreen > #page { height: 1fr; }
    JobScreen > #page > .gap { margin-bottom: 1; }
    """

    def __init_subclass__(cls, **settings: Any) -> None:
        found: dict[str, Key] = {LATER.name: LATER}
        for page in cls.PAGES:
            for key in page.KEYS:
                found.setdefault(key.name, key)
        cls.KEYS = tuple(found.values())
        super().__init_subclass__(**settings)

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, Any] = {}
        self.pages: list[Page[Any]] = [page(self) for page in self.PAGES]
        self.page = self.pages[0]
        self._ready = False
        self.over = False  # the job is ordered or given up: there is nothing left to take up again

    # -- for subclasses

    def begin(self) -> str:
        """Fill in answers that are known before the first question; the name of the page to begin with."""
        return self.pages[0].NAME

    def takes_up(self) -> bool:
        """Whether answers kept from last time are taken; not when the job was opened for something else."""
        return True

    # -- frame

    def body(self) -> ComposeResult:
        path = _Path(self)
        path.styles.height = len(self.pages)
        yield path
        yield OneLine(lambda width: rule(width), id="path-rule")
        yield Vertical(id="page")

    def _tabs(self, width: int) -> Line:
        at = self.pages.index(self.page) + 1
        step = _("step {n} of {all}").format(n=at, all=len(self.pages))
        return spread(((f" {_(self.TITLE)}", "title"),), ((step + " ", "dim"),), width)

    def own_keys(self) -> list[Key]:
        label = self.page.next_label()
        found = [keys.named("open", label, label)] if label else []
        mine = [key for key in self.page.own_keys() if key.name != "open"]
        return [*found, *(key for key in mine if not self.session.may(key.need))]

    def common_keys(self) -> list[Key]:
        found = [keys.TABLE["find"]] if self.main_list() is not None else []
        return [*found, keys.TABLE["back"], *([] if self.page.LIVE else [LATER]), keys.TABLE["help"]]

    async def on_mount(self) -> None:  # type: ignore[override]
        draft = _drafts.get(self.app, {}).get(self.NAME)
        name = self.begin()
        if draft is not None and self.takes_up():
            self.answers |= draft.answers
            name = draft.at
        refusal = self.session.may(self.NEED)
        if refusal and not self.named(name).LIVE:
            self.console.say(refusal, "alarm")
            self.call_later(self._away)
            return
        await self.turn_to(name)

    def _away(self) -> None:
        self.dismiss(None)  # not handed over itself: a screen must not wait for its own end

    def main_list(self) -> RowList[Any] | None:
        return self.page.main_list() if self._ready else None

    def show(self, snapshot: Snapshot) -> None:
        if self._ready:
            self.page.show(snapshot)
            self.query_one(_Path).renew()

    def retranslated(self) -> None:
        self.call_later(self._again)

    async def _again(self) -> None:
        await self.turn_to(self.page.NAME)

    def on_resize(self) -> None:
        self.call_after_refresh(lambda: self.show(self.snapshot))

    # -- the way through the pages

    def named(self, name: str) -> Page[Any]:
        """The page of that name."""
        return next(page for page in self.pages if name == page.NAME)

    async def turn_to(self, name: str) -> None:
        """Show a page."""
        if not self.is_attached:
            return
        if self._ready:
            self.page.keep()
        self._ready = False
        self.page = self.named(name)
        holder, line = self.query_one("#page"), self.query_one("#find", Input)
        line.value = ""
        line.remove_class("-shown")
        await holder.remove_children()
        await holder.mount(*self.page.widgets())
        self._ready = True
        self.page.opened()
        self.show(self.snapshot)
        self.query_one(_Path).redraw()
        self.renew_frame()

    async def forward(self) -> None:
        """To the next question that applies."""
        at = self.pages.index(self.page)
        if self._ready:
            self.page.keep()
        following = next((page for page in self.pages[at + 1 :] if page.applies()), None)
        if following is not None:
            await self.turn_to(following.NAME)

    async def do_back(self) -> None:  # type: ignore[override]
        """Take a filter away, or go back a question, or leave."""
        if self.query_one("#find", Input).value:
            self.action_find_nothing()
            return
        at = self.pages.index(self.page)
        before = next((page for page in reversed(self.pages[:at]) if page.applies()), None)
        if self.page.LIVE or self.over or before is None:
            self.leave()
        else:
            await self.turn_to(before.NAME)

    def do_find(self) -> None:
        """Only where there is a list: the palette would lead away from what was answered."""
        if self.main_list() is not None:
            super().do_find()

    def do_leave(self) -> None:
        self.leave()

    def leave(self) -> None:
        """Away from the job; what was answered is kept unless the job is over."""
        if self._ready:
            self.page.keep()
        if not self.over and not self.page.LIVE:
            drafts = _drafts.setdefault(self.app, {})
            drafts.pop(self.NAME, None)
            if self.pages.index(self.page) > 0:
                drafts[self.NAME] = Draft(self.page.NAME, dict(self.answers))
                self.left()
        self.dismiss(None)

    def left(self) -> None:
        """It was left before its end: say how to go on."""
        key = keys.TABLE.get(self.NAME)
        if key is not None:
            self.console.say(_("Kept as it is: {key} takes it up again.").format(key=key.shown))

    def background(self, work: Callable[[], Coroutine[Any, Any, None]], group: str) -> None:
        """Do what takes time. A later call of the same group drops an earlier one; leaving the job ends it."""
        # Not `work()`: it may be dropped before it begins. Textual's types take any callable for a plain one.
        self.run_worker(work, group=group, exclusive=True)  # type: ignore[arg-type]

    def ordered(self) -> None:
        """What was answered has been ordered: a later start of this job begins anew."""
        self.over = True
        _drafts.get(self.app, {}).pop(self.NAME, None)

    # -- keys and messages

    async def action_enter(self) -> None:
        if self._ready:
            await self.page.enter()

    async def action_act(self, name: str) -> None:
        key = next((key for key in self.page.own_keys() if key.name == name), None)
        if key is None:
            if name not in {known.name for known in self.KEYS} or name == LATER.name:
                await super().action_act(name)
            return
        refusal = self.session.may(key.need)
        if refusal:
            self.console.say(refusal, "alarm")
            return
        done = getattr(self.page, f"do_{name}")()
        if inspect.isawaitable(done):
            await done

    async def on_row_list_opened(self, event: RowList.Opened) -> None:
        event.stop()
        await self.page.row_opened(event.row)

    def on_row_list_moved(self, event: RowList.Moved) -> None:
        event.stop()
        if self._ready:
            self.page.moved()
            self.renew_frame()

    async def on_form_rows_submitted(self, event: FormRows.Submitted) -> None:
        event.stop()
        await self.page.submitted(event.values)

    def on_form_rows_changed(self, event: FormRows.Changed) -> None:
        event.stop()
        if self._ready:
            self.page.changed(event.name, event.value)

    # Textual calls the handlers of the classes above too: the filter's are there.

    def on_input_changed(self, event: Input.Changed) -> None:
        if self._ready and event.input.id == "entry":
            event.stop()
            self.page.typed(event.value)

    async def on_input_submitted(self, event: Input.Submitted) -> None:  # type: ignore[override]
        if self._ready and event.input.id == "entry":
            event.stop()
            await self.page.enter()

    def on_key(self, event: KeyEvent) -> None:
        if self._ready:
            self.page.key(event)
