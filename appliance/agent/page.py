"""The page on the PC's own screen: 25 lines of 80 columns, drawn from a `View` by a pure function.

Only characters that the kernel's own console font has are used (code page 437). Whatever comes from outside, names and
messages of the box, serial numbers of disks, is reduced to such characters first: no escape sequence gets through.
References: console_codes(4).
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field, replace
from enum import Enum

from appliance import __version__

COLUMNS = 79  # the 80th would make the cursor wrap
ROWS = 25
_BAR = 50
_LOG_LINES = 7
_SPELLED = str.maketrans({"…": "...", "–": "-", "—": "-", "’": "'", "“": '"', "”": '"'})
_ALLOWED = set("█░─│äöüÄÖÜßéèêëàâçîïôûùñ£°·±²")


class Style(Enum):
    """How a line looks; colour only repeats what its words say. The value is the SGR sequence of the style."""

    PLAIN = "\x1b[0m"
    BOLD = "\x1b[0;1m"
    DIM = "\x1b[0;37m"
    GOOD = "\x1b[0;1;32m"
    BAD = "\x1b[0;1;37;41m"
    ASK = "\x1b[0;1;33m"


@dataclass(frozen=True, slots=True)
class Meter:
    """How far, how fast, how long still."""

    phase: str = ""
    done_bytes: int = 0
    total_bytes: int = 0
    rate_bytes_s: float = 0.0
    elapsed_s: float = 0.0

    @property
    def percent(self) -> int:
        """Whole percent, 100 only when all is done."""
        return min(100, self.done_bytes * 100 // self.total_bytes) if self.total_bytes > 0 else 0

    @property
    def left_s(self) -> float | None:
        """Seconds still to go at the present rate; None when nobody can know."""
        if self.rate_bytes_s <= 0 or self.total_bytes <= 0:
            return None
        return max(0, self.total_bytes - self.done_bytes) / self.rate_bytes_s


@dataclass(frozen=True, slots=True)
class View:
    """Everything that is on the page."""

    host: str = ""
    mac: str = ""
    ip: str = ""
    firmware: str = ""
    box: str = ""
    model: str = ""
    task: str = ""
    disk: str = ""
    state: str = "starting"  # what it does now, in words
    meter: Meter | None = None
    waiting: str = ""  # why nothing moves
    facts: tuple[str, ...] = ()  # the inventory
    question: str = ""
    typed: str = ""
    error: str = ""
    remedy: str = ""
    good: str = ""  # how it ended
    footer: str = ""
    lines: tuple[str, ...] = field(default=())

    def with_line(self, line: str) -> View:
        """With one more log line; only as many as the page can show are kept."""
        return replace(self, lines=(*self.lines, line)[-_LOG_LINES:])


def clean(text: str) -> str:
    """`text` with all that the console cannot show, control characters too, as `?`; dashes and quotes are spelled."""
    spelled = text.translate(_SPELLED)
    return "".join(c if " " <= c <= "~" or c in _ALLOWED else " " if c.isspace() else "?" for c in spelled)


def size(count: float) -> str:
    """Bytes in powers of ten, three digits or so: `44.0 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit in ("B", "kB") or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


def span(seconds: float) -> str:
    """A length of time as `m:ss` or `h:mm:ss`."""
    whole = min(int(seconds + 0.5), 359999)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def rate(bytes_s: float) -> str:
    """A rate in whole MB/s, or with one decimal below 10."""
    return f"{bytes_s / 1e6:.0f} MB/s" if bytes_s >= 1e7 else f"{bytes_s / 1e6:.1f} MB/s"


def render(view: View) -> list[tuple[Style, str]]:
    """The page: at most `ROWS` lines of at most `COLUMNS` printable characters each."""
    rows: list[tuple[Style, str]] = [(Style.BOLD, _title(view)), (Style.DIM, "─" * COLUMNS)]
    rows += [(Style.PLAIN, f" {label:9} {text}") for label, text in _facts(view) if text]
    rows.append((Style.PLAIN, ""))
    rows += _middle(view)
    rows += [(Style.PLAIN, ""), (Style.DIM, " Last lines")]
    room = ROWS - len(rows) - 2
    rows += [(Style.DIM, "  " + line) for line in view.lines[-room:]] if room > 0 else []
    rows = rows[: ROWS - 2]
    rows += [(Style.PLAIN, "")] * (ROWS - 2 - len(rows))
    rows += [(Style.DIM, "─" * COLUMNS), (Style.DIM, " " + _footer(view))]
    return [(style, clean(text)[:COLUMNS]) for style, text in rows]


def _title(view: View) -> str:
    left, right = f" Diecast agent {__version__}", clean(view.host or "unknown PC")[:40]
    return left + right.rjust(COLUMNS - len(left) - 1)


def _facts(view: View) -> list[tuple[str, str]]:
    me = "  ".join(part for part in (view.host, view.mac, view.ip, view.firmware) if part)
    return [("This PC", me), ("Model", view.model), ("Box", view.box), ("Task", view.task), ("Disk", view.disk)]


def _middle(view: View) -> list[tuple[Style, str]]:
    if view.error:
        return [(Style.BAD, f" {line} ") for line in _wrap(view.error, 4)] + [
            (Style.BOLD, f" {line}") for line in _wrap(view.remedy, 3)
        ]
    rows = [(Style.PLAIN, f" {line}") for line in view.facts[:9]]
    if view.good:
        return [*rows, *((Style.GOOD, f" {line}") for line in _wrap(view.good, 3))]
    if view.question:
        rows += [(Style.ASK, f" {line}") for line in _wrap(view.question, 2)]
        return [*rows, (Style.BOLD, f" > {view.typed}_")]
    rows.append((Style.BOLD, f" {view.state}"))
    if view.meter is not None:
        rows += [(Style.PLAIN, " " + bar(view.meter)), (Style.PLAIN, " " + speed(view.meter))]
    rows += [(Style.ASK, f" {line}") for line in _wrap(view.waiting, 2)]
    return rows


def _footer(view: View) -> str:
    if view.footer or view.error or view.good:
        return view.footer
    return "Do not switch this PC off." if view.meter is not None else ""


def _wrap(text: str, most: int) -> list[str]:
    return textwrap.wrap(clean(text), COLUMNS - 2, max_lines=most, placeholder=" ...") if text else []


def bar(meter: Meter) -> str:
    """The bar and its percent."""
    full = meter.percent * _BAR // 100
    return "█" * full + "░" * (_BAR - full) + f"  {meter.percent} %"


def speed(meter: Meter) -> str:
    """How much of what, how fast, how long still, how long so far."""
    left = meter.left_s
    parts = [
        f"{size(meter.done_bytes)} of {size(meter.total_bytes)}",
        rate(meter.rate_bytes_s),
        f"{span(left)} left" if left is not None else "",
        f"{span(meter.elapsed_s)} so far",
    ]
    return "    ".join(part for part in parts if part)


def paint(rows: list[tuple[Style, str]]) -> bytes:
    """The bytes that draw `rows` over whatever is there, without scrolling or flicker."""
    drawn = "".join(f"\x1b[{number};1H{style.value}{text}\x1b[0m\x1b[K" for number, (style, text) in enumerate(rows, 1))
    return f"\x1b[?25l{drawn}\x1b[J".encode()
