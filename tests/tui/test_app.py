"""The frame of the console: screens, keys, help, palette, roles, notices, lock, language and theme."""

from __future__ import annotations

import threading

import pytest
from textual.binding import Binding

from appliance.events import Role
from appliance.model import Operator
from appliance.store import Store
from appliance.tui import i18n, keys, theme
from appliance.tui.app import LOCK_SETTING, THEME_SETTING, ConsoleApp
from appliance.tui.screens.base import ConsoleScreen
from appliance.tui.screens.lock import LockScreen
from appliance.tui.screens.table import JOBS, SCREENS, load
from appliance.tui.widgets.glyphs import drawable
from appliance.tui.widgets.status import OneLine
from tests.tui.kit import LARGE, SMALL, Seat, console, make_app

PASSWORD = "correct horse"


@pytest.fixture
def staffed(store: Store) -> Store:
    """A store with two operators; hashing is cheap."""
    import argon2

    store.operators.hasher = argon2.PasswordHasher.from_parameters(argon2.profiles.CHEAPEST)
    store.operators.add("marie", Role.ADMIN, PASSWORD)
    store.operators.add("luc", Role.VIEWER, PASSWORD)
    store.operators.set_language("luc", "fr")
    return store


def all_screens() -> list[type[ConsoleScreen]]:
    """Every screen class that is there, numbered or not."""
    for path in [*(entry.path for entry in SCREENS), *(job.path for job in JOBS)]:
        load(path)
    found, new = set(), {ConsoleScreen}
    while new:
        found |= new
        new = {sub for kind in new for sub in kind.__subclasses__()} - found
    return sorted(found, key=lambda kind: kind.__qualname__)


async def test_the_console_opens_with_the_overview(store: Store) -> None:
    async with console(store) as seat:
        assert "1 Overview" in seat.lines()[0]
        assert len(seat.lines()) == 24


@pytest.mark.parametrize("entry", SCREENS, ids=lambda entry: entry.name)
async def test_every_numbered_screen_opens_by_its_key_and_has_a_way_back(store: Store, entry: object) -> None:
    key, name = entry.key, entry.name  # type: ignore[attr-defined]
    async with console(store) as seat:
        await seat.press(key)
        assert seat.app.base_screen is not None
        assert name == seat.app.base_screen.NAME
        await seat.press("1")
        assert seat.app.base_screen.NAME == "overview"


@pytest.mark.parametrize("screen", all_screens(), ids=lambda screen: screen.__qualname__)
def test_no_screen_gives_a_key_another_meaning(screen: type[ConsoleScreen]) -> None:
    lists = {key.name for key in keys.LIST}
    meanings = {part: key.name for key in keys.TABLE.values() for part in key.key.split(",")}
    for key in screen.KEYS:
        assert set(key.key.split(",")) <= set(keys.TABLE[key.name].key.split(","))
        doers = [screen, *getattr(screen, "PARTS", ()), *getattr(screen, "PAGES", ())]
        assert key.name in lists or any(hasattr(kind, f"do_{key.name}") for kind in doers), f"{key.name} does nothing"
    for kind in screen.__mro__:
        for binding in kind.__dict__.get("BINDINGS", ()):
            if not issubclass(kind, ConsoleScreen) or not isinstance(binding, Binding):
                continue
            for part in binding.key.split(","):
                if part in meanings and part not in ("tab", "up", "down", "enter"):
                    assert binding.action == f"act('{meanings[part]}')", f"{kind.__name__}: {part}"


@pytest.mark.parametrize("entry", SCREENS, ids=lambda entry: entry.name)
async def test_help_names_every_key_of_the_screen(store: Store, entry: object) -> None:
    from appliance.tui.screens.help import help_lines

    key = entry.key  # type: ignore[attr-defined]
    async with console(store) as seat:
        await seat.press(key)
        screen = seat.app.base_screen
        assert screen is not None
        text = "\n".join("".join(piece for piece, _role in line) for line in help_lines(screen))
        for own in screen.own_keys():
            assert own.words.split(";")[0][:40] in text.replace("\n" + " " * 14, " ")
        await seat.press("question_mark")
        assert "Help" in seat.text()
        await seat.press("escape")
        assert seat.app.screen is screen


@pytest.mark.parametrize(("size", "language"), [(SMALL, "en"), (SMALL, "fr"), (LARGE, "fr"), ((200, 60), "en")])
async def test_every_screen_draws_only_what_console_fonts_have(
    store: Store, size: tuple[int, int], language: str
) -> None:
    over: list[list[str]] = [["question_mark"], ["escape"], ["ctrl+p"], ["escape"]] if size == SMALL else []
    async with console(store, size=size, language=language) as seat:
        for entry in SCREENS:
            for press in ([entry.key], *over):
                await seat.press(*press)
                strange = {char for char in seat.text().replace("\n", "") if not drawable(char)}
                assert strange == set(), (entry.name, press)


async def test_the_palette_finds_screens_and_actions_by_some_letters(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("ctrl+p", *"cancel", "enter")
        assert seat.app.base_screen is not None
        assert seat.app.base_screen.NAME == "tasks"
        assert "Cancel 1 task?" in seat.text()


async def test_the_palette_leads_to_every_part_of_a_screen(store: Store) -> None:
    async with console(store) as seat:
        for words, title in (("leases", " Leases"), ("rooms", " Rooms 2 "), ("audit", " Audit ")):
            await seat.press("ctrl+p")
            await seat.type(words)
            await seat.press("enter")
            head = seat.app.screen.query_one("#parts", OneLine)._drawn[0][0]
            assert [text for text, role in head if role == "tab" and text.startswith(title)]


@pytest.mark.parametrize("language", ["en", "fr"])
async def test_the_titles_of_all_parts_fit_a_small_screen(store: Store, language: str) -> None:
    async with console(store, language=language) as seat:
        for entry in SCREENS:
            for part in getattr(load(entry.path), "PARTS", ()):
                await seat.press(entry.key)
                assert i18n._(part.TITLE) in seat.text(), (entry.name, part.TITLE)


async def test_a_viewer_is_told_why_not_and_sees_no_keys_that_change(store: Store) -> None:
    async with console(store, role=Role.VIEWER) as seat:
        await seat.press("4")
        assert "Cancel" not in seat.lines()[-1]
        await seat.press("k")
        assert "marie may look, but change nothing." in seat.text()
        await seat.press("ctrl+p", *"cancel")
        assert "Nothing here matches" in seat.text()


async def test_read_only_says_that_it_is(store: Store) -> None:
    async with console(store, read_only=True) as seat:
        assert "read only" in seat.lines()[-1]
        await seat.press("4", "k")
        assert "This console is read-only" in seat.text()


async def test_changes_of_another_process_appear(store: Store) -> None:
    async with console(store) as seat:
        store.hosts.edit("lab-02", sealed=True)
        await seat.look()
        assert "lab-02  sealed" in seat.text()


async def test_trouble_with_the_store_is_a_banner_in_words_and_the_picture_stays(store: Store) -> None:
    async with console(store) as seat:
        kept = store.path.rename(store.path.with_suffix(".away"))
        await seat.look()
        assert "is gone" in seat.text()
        assert "What you see is the last that was known." in seat.text().replace("\n  ", "")
        assert "win11-lab@1" in seat.text()
        kept.rename(store.path)
        await seat.look()
        assert "is gone" not in seat.text()


async def test_a_language_is_switched_in_place_and_kept_for_the_operator(staffed: Store) -> None:
    async with console(staffed) as seat:
        await sign_in(seat.app, seat.press, "marie")
        await seat.press("4", "ctrl+l")
        assert "Tâches" in seat.lines()[0]
        assert "en cours" in seat.text()
        assert staffed.operators.get("marie").language == "fr"
        await seat.press("ctrl+l")
        assert "Tasks" in seat.lines()[0]


async def test_a_theme_is_kept_for_the_operator_or_for_the_box(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("ctrl+t")
        assert theme.current() == theme.MONO
        assert store.settings.get(THEME_SETTING) == theme.MONO
    async with console(store) as seat:
        assert theme.current() == theme.MONO
        assert seat.app.theme == theme.MONO


async def test_monochrome_uses_no_colour_at_all(store: Store) -> None:
    async with console(store, look=theme.MONO) as seat:
        for key in ("1", "4"):
            await seat.press(key)
            for strip in seat.app.screen._compositor.render_strips():
                for segment in strip:
                    assert segment.style is None or segment.style.color is None or segment.style.color.is_default


async def sign_in(app: ConsoleApp, press: object, name: str, password: str = PASSWORD) -> None:
    """Type a name and a password into the lock."""
    letters = ["space" if char == " " else char for char in password]
    await press(*name, "down", *letters, "enter")  # type: ignore[operator]


async def test_where_operators_exist_nothing_is_shown_before_one_signs_in(staffed: Store) -> None:
    async with console(staffed) as seat:
        assert isinstance(seat.app.screen, LockScreen)
        assert "win11-lab" not in seat.text()
        await sign_in(seat.app, seat.press, "marie", "wrong word")
        assert "do not belong together" in seat.text()
        assert isinstance(seat.app.screen, LockScreen)


async def test_before_the_store_was_read_nothing_can_be_changed(staffed: Store) -> None:
    app = make_app(staffed.path)
    app.model.start = lambda: None  # type: ignore[method-assign]
    async with app.run_test(size=SMALL) as pilot:
        seat = Seat(app, pilot)
        for key in ("2", "a", "c"):
            await pilot.press(key)
            await app.typed.done()
        assert len(app.screen_stack) == 2  # Textual's own, and a numbered one
        assert "Reading the store ..." in seat.lines()[-2]
        app.session.do("host add", "x", lambda opened: opened.hosts.add("x", ["52:54:00:00:00:01"]))
        await seat.settle()
        assert isinstance(app.screen, LockScreen)
    assert "x" not in [host.name for host in staffed.hosts.list()]


async def test_a_password_is_drawn_in_signs_that_console_fonts_have(staffed: Store) -> None:
    async with console(staffed) as seat:
        await seat.press("tab", "a", "b", "c")
        assert seat.line_with("Password").split()[-2:] == ["***", "│"]


async def test_an_operator_brings_role_and_language(staffed: Store) -> None:
    async with console(staffed) as seat:
        await sign_in(seat.app, seat.press, "luc")
        assert "luc, lecteur" in seat.lines()[-1]
        assert seat.app.session.role is Role.VIEWER


async def test_an_idle_console_locks_after_the_minutes_that_are_set(staffed: Store) -> None:
    async with console(staffed) as seat:
        await sign_in(seat.app, seat.press, "marie")
        staffed.settings.set(LOCK_SETTING, "5")
        await seat.look()
        seat.app._touched -= 299
        seat.app._tick()
        await seat.settle()
        assert not isinstance(seat.app.screen, LockScreen)
        seat.app._touched -= 2
        seat.app._tick()
        await seat.settle()
        assert isinstance(seat.app.screen, LockScreen)
        assert "win11-lab" not in seat.text()


async def test_a_key_keeps_the_console_from_locking(staffed: Store) -> None:
    async with console(staffed) as seat:
        await sign_in(seat.app, seat.press, "marie")
        staffed.settings.set(LOCK_SETTING, "5")
        seat.app._touched -= 299
        await seat.press("4")
        seat.app._touched -= 2
        seat.app._tick()
        await seat.settle()
        assert not isinstance(seat.app.screen, LockScreen)


async def test_every_change_leaves_an_audit_line_with_the_operators_name(staffed: Store) -> None:
    async with console(staffed) as seat:
        await sign_in(seat.app, seat.press, "marie")
        seat.app.session.do("host edit", "lab-01: notes", lambda store: store.hosts.edit("lab-01", notes="x"))
        await seat.settle()
        event = staffed.audit.list()[0]
        assert (event.actor, event.action, event.detail) == ("marie", "host edit", "lab-01: notes")


async def test_an_error_of_a_verb_is_shown_in_words_and_leaves_no_audit_line(store: Store) -> None:
    async with console(store) as seat:
        seat.app.session.do("host edit", "nobody", lambda store: store.hosts.edit("nobody", notes="x"))
        await seat.settle()
        assert "There is no host 'nobody'." in seat.text()
        assert store.audit.list() == []


async def test_a_change_that_has_to_wait_for_the_store_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.tui.session._SLOW_S", 0.0)
    release = threading.Event()
    async with console(store) as seat:
        seat.app.session.do("test", "waits", lambda _store: release.wait(20))
        while "this waits for it" not in seat.text():
            await seat.pilot.pause()
        release.set()
        await seat.settle()
        assert store.audit.list()[0].action == "test"


async def test_a_notice_does_not_follow_to_another_screen(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("4", "t")
        assert "None of them waits for its time." in seat.text()
        await seat.press("2")
        assert "None of them" not in seat.text()


async def test_leaving_is_asked_for(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("q")
        assert "Tasks and services go on" in seat.text()
        await seat.press("escape")
        assert seat.app.is_running
        await seat.press("q", "enter")
        assert seat.app._exit


def test_an_operator_who_works_at_anothers_login_is_named_with_it() -> None:
    from appliance.tui.session import Session

    session = Session("root from 10.0.0.7", Role.ADMIN)
    session.sign_in(Operator("marie", Role.OPERATOR))
    assert session.actor == "marie at root from 10.0.0.7"
    assert session.may("operator") == ""
    assert "no admin" in session.may("admin")


async def test_what_was_asked_before_the_lock_shows_nothing_over_it(staffed: Store) -> None:
    async with console(staffed) as seat:
        await sign_in(seat.app, seat.press, "marie")
        seen: list[int] = []
        seat.app.lock()
        seat.app.session.fetch(lambda store: len(store.hosts.list()), seen.append)
        seat.app.go("tasks")
        await seat.settle()
        assert seen == []
        assert isinstance(seat.app.screen, LockScreen)
        await seat.press(*["space" if char == " " else char for char in PASSWORD], "enter")
        assert seen == [22]


async def test_an_operator_who_is_removed_or_made_a_viewer_notices_at_once(staffed: Store) -> None:
    staffed.operators.add("anne", Role.ADMIN, PASSWORD)
    async with console(staffed) as seat:
        await sign_in(seat.app, seat.press, "marie")
        staffed.operators.set_role("marie", Role.VIEWER)
        await seat.settle()
        assert "marie, viewer" in seat.lines()[-1]
        staffed.operators.remove("marie")
        await seat.settle()
        assert isinstance(seat.app.screen, LockScreen)


async def test_who_has_signed_in_may_lock_or_leave(staffed: Store) -> None:
    async with console(staffed) as seat:
        await sign_in(seat.app, seat.press, "marie")
        await seat.press("q", "enter")
        assert isinstance(seat.app.screen, LockScreen)
        await seat.press(*["space" if char == " " else char for char in PASSWORD], "enter")
        await seat.press("q", "down", "enter")
        assert seat.app._exit


async def test_a_key_that_is_typed_into_a_field_does_nothing_else(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("4", "slash", *"2q?c")
        assert seat.app.screen is seat.app.base_screen
        assert seat.app.base_screen is not None
        assert seat.app.base_screen.NAME == "tasks"


async def test_while_letters_filter_the_keys_below_are_those_of_the_filter(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "slash")
        assert seat.lines()[-1].split()[:5] == ["Enter", "Keep", "Esc", "Show", "all"]
        await seat.press("enter")
        assert "a Add" in seat.lines()[-1]
        assert "Type to filter" not in seat.text()


async def test_a_key_of_another_part_leads_there_and_does_nothing_yet(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "tab", "tab", "w")
        assert "w Wake is for what you see now: press it again to do it." in seat.text()
        assert store.audit.list() == []
        await seat.press("home", "w")
        assert [event.detail for event in store.audit.list()] == ["dev-01"]


async def test_a_second_that_passes_while_it_ends_is_no_defect(store: Store) -> None:
    async with console(store) as seat:
        pass
    assert seat.app.screen_stack == []
    seat.app._tick()
