"""Lists, bars, forms and dialogs by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from textual.app import App, ComposeResult

from appliance.errors import UsageError
from appliance.tui import i18n, theme
from appliance.tui.widgets.bar import bar, spark
from appliance.tui.widgets.dialogs import Confirm, Form, Item, Pick
from appliance.tui.widgets.forms import CHOICE, FLAG, SECRET, Choice, Field, FormRows
from appliance.tui.widgets.glyphs import clean, drawable, fit
from appliance.tui.widgets.lines import Board, BoardLine, Line, cut, spread, thumb, width_of, wrap
from appliance.tui.widgets.rowlist import Column, RowList, layout
from appliance.tui.widgets.status import key_line, rule, tabs
from tests.tui.kit import shown_lines


@dataclass(frozen=True)
class Pc:
    """A row."""

    number: int
    name: str
    notes: str = ""


COLUMNS: list[Column[Pc]] = [
    Column("Name", lambda pc: pc.name, 8, rank=0, most=20),
    Column("Number", lambda pc: str(pc.number), 6, rank=1, right=True, sort=lambda pc: pc.number),
    Column("Notes", lambda pc: pc.notes, 10, rank=2, most=40),
]


class Lists(App[None]):
    """An application that is one list."""

    def __init__(self, rows: list[Pc], *, marks: bool = False) -> None:
        super().__init__()
        self.list = RowList(COLUMNS, lambda pc: pc.number, empty="Nothing.", marks=marks)
        self.rows = rows
        self.opened: list[Pc] = []
        for made in theme.textual_themes():
            self.register_theme(made)
        self.theme = theme.NORMAL

    def compose(self) -> ComposeResult:
        yield self.list

    def on_mount(self) -> None:
        self.list.put(self.rows)
        self.list.focus()

    def on_row_list_opened(self, event: RowList.Opened) -> None:
        self.opened.append(event.row)


def pcs(count: int) -> list[Pc]:
    return [Pc(number, f"lab-{number:02}") for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("width", "places"),
    [(8, [(0, 8)]), (20, [(0, 12), (1, 6)]), (28, [(0, 8), (1, 6), (2, 10)]), (70, [(0, 20), (1, 6), (2, 40)])],
)
def test_columns_go_by_rank_and_grow_by_what_is_left(width: int, places: list[tuple[int, int]]) -> None:
    assert layout(COLUMNS, width) == places


async def test_a_list_makes_only_the_lines_in_sight() -> None:
    made: list[int] = []
    counting = [Column[Pc]("Name", lambda pc: made.append(pc.number) or pc.name, 8, rank=0)]  # type: ignore[func-returns-value]
    app = Lists([])
    app.list = RowList(counting, lambda pc: pc.number)
    app.rows = pcs(1000)
    async with app.run_test(size=(40, 12)) as pilot:
        await pilot.pause()
        assert set(made) <= set(range(1, 13))


async def test_the_cursor_stays_at_its_row_when_rows_come_and_go() -> None:
    app = Lists(pcs(30))
    async with app.run_test(size=(40, 12)) as pilot:
        await pilot.press("down", "down", "down")
        assert app.list.row == Pc(4, "lab-04")
        app.list.put([Pc(100, "first"), *pcs(30)])
        assert app.list.row == Pc(4, "lab-04")
        app.list.put(pcs(3))
        assert app.list.row == Pc(3, "lab-03")
        app.list.put([])
        assert not app.list.rows
        await pilot.pause()
        assert "Nothing." in "\n".join(shown_lines(app))


async def test_the_words_of_an_empty_list_are_broken_into_lines() -> None:
    app = Lists([])
    app.list.empty = "There is nothing."
    async with app.run_test(size=(12, 12)):
        assert [line.strip() for line in shown_lines(app)[1:3]] == ["There is", "nothing."]


async def test_the_row_at_the_cursor_is_always_in_sight() -> None:
    app = Lists(pcs(100))
    async with app.run_test(size=(40, 12)) as pilot:
        for key, name in (("end", "lab-100"), ("pageup", "lab-90"), ("home", "lab-01"), ("pagedown", "lab-11")):
            await pilot.press(key)
            assert any(name in line for line in shown_lines(app)), (key, name)


async def test_the_cursor_shows_at_once_whether_the_list_has_the_keys() -> None:
    app = Lists(pcs(5))
    async with app.run_test(size=(40, 12)) as pilot:
        assert app.list._drawn[1][1] == "cursor"
        app.set_focus(None)
        await pilot.pause()
        assert app.list._drawn[1][1] == "cursor-away"
        app.list.focus()
        await pilot.pause()
        assert app.list._drawn[1][1] == "cursor"


async def test_marks_stay_with_rows_and_go_with_them() -> None:
    app = Lists(pcs(5), marks=True)
    async with app.run_test(size=(40, 12)) as pilot:
        await pilot.press("space", "down", "space")
        assert [pc.number for pc in app.list.chosen] == [1, 3]
        assert sum("■" in line for line in shown_lines(app)) == 2
        app.list.put([Pc(3, "lab-03"), Pc(9, "lab-09")])
        assert [pc.number for pc in app.list.chosen] == [3]
        await pilot.press("asterisk")
        assert [pc.number for pc in app.list.chosen] == [3, 9]
        await pilot.press("asterisk")
        assert app.list.marked == set()


async def test_a_filter_finds_every_word_in_any_column_without_case_or_accents() -> None:
    rows = [Pc(1, "lab-01", "Éléonore au fond"), Pc(2, "lab-02", "au fond"), Pc(3, "dev-01", "Éléonore")]
    app = Lists(rows)
    async with app.run_test(size=(60, 12)):
        app.list.find("ELEONORE lab")
        assert [pc.number for pc in app.list.rows] == [1]
        app.list.find("")
        assert len(app.list.rows) == 3


async def test_a_filter_goes_by_the_words_of_the_language_in_use() -> None:
    app = Lists([])
    app.list = RowList([Column[Pc]("Name", lambda pc: i18n._("yes"), 8, rank=0)], lambda pc: pc.number)
    app.rows = pcs(1)
    async with app.run_test(size=(40, 12)):
        app.list.find("yes")
        assert len(app.list.rows) == 1
        i18n.use("fr")
        app.list.redraw()
        assert app.list.rows == []
        app.list.find("oui")
        assert len(app.list.rows) == 1


async def test_marked_rows_that_the_filter_hides_are_still_chosen() -> None:
    app = Lists(pcs(5), marks=True)
    async with app.run_test(size=(40, 12)) as pilot:
        await pilot.press("space")
        app.list.find("lab-05")
        await pilot.press("space")
        assert {pc.number for pc in app.list.chosen} == {1, 5}


async def test_sorting_goes_round_the_columns_and_turns() -> None:
    app = Lists([Pc(2, "a"), Pc(10, "c"), Pc(1, "b")])
    async with app.run_test(size=(60, 12)) as pilot:
        await pilot.press("s")
        assert [pc.name for pc in app.list.rows] == ["a", "b", "c"]
        await pilot.press("s")
        assert [pc.number for pc in app.list.rows] == [1, 2, 10]
        await pilot.press("S")
        assert [pc.number for pc in app.list.rows] == [10, 2, 1]


async def test_enter_opens_the_row_at_the_cursor() -> None:
    app = Lists(pcs(3))
    async with app.run_test(size=(40, 12)) as pilot:
        await pilot.press("down", "enter")
        assert app.opened == [Pc(2, "lab-02")]


@pytest.mark.parametrize(
    ("fraction", "cells"), [(0.0, "░░░░"), (0.5, "██░░"), (0.6, "██▒░"), (1.0, "████"), (7.0, "████"), (-1.0, "░░░░")]
)
def test_a_bar_is_made_of_whole_cells(fraction: float, cells: str) -> None:
    assert "".join(text for text, _role in bar(fraction, 4)) == cells


def test_a_history_shows_the_newest_values_at_the_right() -> None:
    assert spark([0, 5, 10], 5)[0][0][0] == "  ░▒█"
    assert [line[0][0] for line in spark([0, 5, 10], 3, 2)] == ["  █", "░██"]


def test_text_from_elsewhere_cannot_move_the_cursor_or_take_two_cells() -> None:
    assert clean("a\x1b[2Jb\n日本é█") == "a?[2Jb???é█"
    assert clean("3f9a… l’œil") == "3f9a... l'oeil"
    assert not drawable("▄")


def test_a_text_that_is_too_long_says_so() -> None:
    assert fit("laboratory", 6) == "labor~"
    assert fit("lab", 6, right=True) == "   lab"


def test_lines_are_put_together_in_exactly_the_width() -> None:
    left: Line = (("a long text at the left", ""),)
    assert width_of(spread(left, (("right", ""),), 20)) == 20
    assert cut(left, 6) == (("a long", ""),)
    assert wrap("one two three\n\nfour", 8) == ["one two", "three", "", "four"]


def test_the_scroll_mark_reaches_both_ends() -> None:
    assert 0 in thumb(0, 100, 10)
    assert 9 in thumb(90, 100, 10)
    assert not thumb(0, 5, 10)


def test_tabs_and_keys_fit_eighty_columns() -> None:
    from appliance.tui import keys

    screens = [(str(number), "Some title", number == 1) for number in range(1, 8)]
    assert width_of(tabs(80, "a-box-with-a-very-long-name", screens, "12:00:00")) == 80
    line = key_line(80, keys.OWN, keys.take("find", "help"), "marie, operator")
    assert width_of(line) == 80
    assert any(label.strip() == "Help" for label, _role in line)


def test_a_role_gives_way_to_keys_that_everybody_needs() -> None:
    from appliance.tui import keys

    own, common = keys.take("move", "open"), keys.take("capture", "deploy", "new_pcs", "help")
    narrow = "".join(text for text, _role in key_line(62, own, common, "marie, operator"))
    assert "Deploy" in narrow
    assert narrow.endswith(" marie ")
    assert key_line(100, own, common, "marie, operator")[-1][0] == "marie, operator "


def test_a_notice_stands_in_the_rule() -> None:
    assert width_of(rule(40, "Done", "notice")) == 40
    assert width_of(rule(40, "x" * 100, "notice")) == 40


class Boards(App[None]):
    """An application that is one board."""

    def __init__(self) -> None:
        super().__init__()
        self.board = Board()
        self.opened: list[Any] = []

    def compose(self) -> ComposeResult:
        yield self.board

    def on_mount(self) -> None:
        self.board.focus()

    def on_board_opened(self, event: Board.Opened) -> None:
        self.opened.append(event.target)


async def test_a_boards_cursor_stops_only_where_a_line_leads_somewhere() -> None:
    app = Boards()
    async with app.run_test(size=(40, 5)) as pilot:
        app.board.put([BoardLine((("title", ""),)), *(BoardLine(((f"line {i}", ""),), i or None) for i in range(9))])
        await pilot.press("down", "down", "down", "enter")
        assert app.opened == [4]
        await pilot.press(*["down"] * 9, "enter")
        assert app.opened == [4, 8]
        assert "line 8" in "\n".join(shown_lines(app))


class Dialogs(App[None]):
    """An application for dialogs."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Any] = []
        for made in theme.textual_themes():
            self.register_theme(made)
        self.theme = theme.NORMAL

    def ask(self, dialog: Any) -> None:
        self.push_screen(dialog, self.answers.append)


async def asked(dialog: Any, *keys: str, also: Callable[[Dialogs], None] | None = None) -> list[Any]:
    app = Dialogs()
    async with app.run_test(size=(80, 24)) as pilot:
        app.ask(dialog)
        await pilot.pause()
        await pilot.press(*keys)
        await pilot.pause()
        if also:
            also(app)
        return app.answers


async def test_a_dangerous_thing_wants_its_word() -> None:
    assert await asked(Confirm("Remove?", ["lab-07 and its history are lost."], word="lab"), *"lab", "enter") == [True]
    assert await asked(Confirm("Remove?", ["All is lost."], word="lab"), *"lub", "enter") == []
    assert await asked(Confirm("Remove?", ["All is lost."], word="lab"), "escape") == [None]


async def test_a_harmless_thing_wants_enter() -> None:
    assert await asked(Confirm("Leave?", ["Tasks go on."]), "enter") == [True]


async def test_what_is_wrong_with_a_value_is_said_in_words() -> None:
    def check(text: str) -> str:
        if not text:
            raise UsageError("A name is needed.", hint="Type one.")
        return ""

    def look(app: Dialogs) -> None:
        assert any("A name is needed. Type one." in line for line in shown_lines(app))

    assert await asked(Form("Add", [Field("name", "Name", check=check)]), "enter", also=look) == []
    assert await asked(Form("Add", [Field("name", "Name", check=check)]), *"pc", "enter") == [{"name": "pc"}]


async def test_a_form_gives_texts_choices_and_flags() -> None:
    fields = [
        Field("name", "Name", value="lab"),
        Field("kind", "Kind", CHOICE, "b", choices=(("a", "Alpha"), ("b", "Beta"), ("c", "Gamma"))),
        Field("sealed", "Sealed", FLAG, False),
        Field("word", "Word", SECRET),
    ]
    keys = ("x", "down", "right", "down", "space", "down", *"secret", "enter")
    assert await asked(Form("Edit", fields), *keys) == [{"name": "labx", "kind": "c", "sealed": True, "word": "secret"}]


async def test_an_error_of_the_store_stands_beside_what_was_typed() -> None:
    def save(form: Form, values: dict[str, Any]) -> None:
        form.complain({"name": f"There is a host {values['name']} already."})

    def look(app: Dialogs) -> None:
        assert "already" in "\n".join(shown_lines(app))
        assert app.screen.query_one(FormRows).values == {"name": "pc"}

    assert await asked(Form("Add", [Field("name", "Name")], save=save), *"pc", "enter", also=look) == []


async def test_a_choice_goes_round() -> None:
    choice = Choice([("a", "A"), ("b", "B")], "b")
    choice.action_turn(1)
    assert choice.value == "a"


async def test_a_pick_is_narrowed_by_typing_and_moved_by_arrows() -> None:
    items = [Item(1, "win11"), Item(2, "ubuntu"), Item(3, "ubuntu-dev")]
    assert await asked(Pick("Image?", items), *"ubu", "down", "enter") == [3]
    assert await asked(Pick("Image?", items), *"zzz", "enter") == []
