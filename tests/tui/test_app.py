"""The frame of the console: screens, keys, help, palette, roles, lock, language, theme."""

from appliance.store import Store
from tests.tui.kit import console


async def test_the_console_opens_with_the_overview(store: Store) -> None:
    async with console(store) as seat:
        print(seat.text())
        assert "1 Overview" in seat.lines()[0]
        assert "Needs you" in seat.text()
        assert len(seat.lines()) == 24
