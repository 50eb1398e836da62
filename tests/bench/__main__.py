"""`make bench`: run every benchmark, print a table, write one JSON list.

A benchmark is a module of this package with `run(workdir) -> list of entries`; an entry is
`{"name", "ours", "peer", "ratio", "unit", "detail"}`. With `--only name,...` only those entries are measured and
replaced. Exit status 0 whenever everything asked for could be measured.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
# Module -> the entries it makes.
_MODULES: dict[str, tuple[str, ...]] = {
    "dhcp": ("dhcp_dora_per_s", "dhcp_lost"),
    "tftp": ("tftp_100_clients_s",),
    "http": ("http_initrd_mb_per_s", "initrd_mb"),
    "cast_speed": ("cast_throughput_2", "cast_cpu_s_per_gb"),
    "cast_room": (
        "cast_32_vs_1",
        "cast_late",
        "cast_loss_1pct",
        "cast_loss_10pct",
        "cast_dead_receiver",
        "cast_slow_receiver",
        "cast_two_images",
        "cast_redeploy",
    ),
    "tui": ("tui_key_ms", "tui_cpu", "tui_start_s"),
    "appliance": ("appliance_ready_s", "appliance_image_mb"),
    "boot": ("boot_to_agent_s_bios", "boot_to_agent_s_uefi", "boot_to_agent_s_uefi_sb"),
}
_KEYS = ("name", "ours", "peer", "ratio", "unit", "detail")


def _read(path: Path) -> list[Entry]:
    try:
        entries = json.loads(path.read_text())
    except (OSError, ValueError):
        return []
    return [entry for entry in entries if isinstance(entry, dict) and "name" in entry]


def measure(only: set[str], say: Callable[[str], None]) -> tuple[list[Entry], list[str]]:
    """Run the modules that have a wanted name. Returns the wanted entries, and in words what could not be measured."""
    entries: list[Entry] = []
    faults: list[str] = []
    for module, names in _MODULES.items():
        wanted = [name for name in names if not only or _is_meant(name, only)]
        if not wanted:
            continue
        say(f"measuring {', '.join(wanted)} ...")
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"diecast-bench-{module}-") as workdir:
            try:
                found = importlib.import_module(f"tests.bench.{module}").run(Path(workdir))
                got = [{key: entry.get(key) for key in _KEYS} for entry in found]
            except Exception as error:  # one benchmark that breaks must not lose the others' figures
                traceback.print_exc()
                faults.append(f"{module}: {type(error).__name__}: {error}")
                continue
        entries += [entry for entry in got if entry["name"] in wanted]
        missing = set(wanted) - {entry["name"] for entry in got}
        faults += [f"{module}: {name} was not measured" for name in sorted(missing)]
        say(f"  {time.monotonic() - started:.0f} s")
    return entries, faults


def _is_meant(name: str, only: set[str]) -> bool:
    """Whether `name`, or the family it belongs to (`boot_to_agent_s` for each firmware), is among `only`."""
    return any(name == word or name.startswith(f"{word}_") for word in only)


def merge(old: list[Entry], new: list[Entry], known: list[str]) -> list[Entry]:
    """Old entries with the new ones in place of those of the same name, in the order of `known`."""
    by_name = {entry["name"]: entry for entry in [*old, *new] if entry["name"] in known}
    return [by_name[name] for name in known if name in by_name]


def table(entries: list[Entry]) -> str:
    """The entries for a terminal."""
    rows = [("name", "ours", "peer", "ratio", "unit")]
    rows += [
        (e["name"], *("-" if e[key] is None else f"{e[key]:g}" for key in ("ours", "peer", "ratio")), e["unit"])
        for e in entries
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    details = ["detail", *(str(entry["detail"]) for entry in entries)]
    return "\n".join(
        f"{row[0]:{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}  "
        f"{row[4]:{widths[4]}}  {detail}".rstrip()
        for row, detail in zip(rows, details, strict=True)
    )


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="tests.bench", description=main.__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--only", default="", metavar="NAME,...", help="measure and replace only these entries")
    options = parser.parse_args()
    known = [name for names in _MODULES.values() for name in names]
    only = {name for name in options.only.split(",") if name}
    if unknown := sorted(word for word in only if not any(_is_meant(name, {word}) for name in known)):
        parser.error(f"no such entry: {', '.join(unknown)}; known: {', '.join(known)}")
    measured, faults = measure(only, lambda text: print(text, flush=True))
    entries = merge(_read(options.output) if only else [], measured, known)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(entries, indent=1) + "\n")
    print(table(entries))
    print(f"Written: {options.output}")
    for fault in faults:
        print(f"Not measured: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
