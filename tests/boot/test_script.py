"""Boot scripts, whole: what a PC is sent is what is kept in tests/testdata/boot."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.boot.decide import BootKind, Purpose
from appliance.boot.script import EFI_LOADERS, Loader, Subject, Templates, grub_entry, kernel_args, render
from appliance.config import bootfiles_dir
from appliance.errors import BadData
from tests.boot import golden

TEMPLATES = Templates.load(bootfiles_dir())
SCRIPTS = golden.scripts()
IPXE = {name: text for name, text in SCRIPTS.items() if name.endswith(".ipxe")}
GRUB = {name: text for name, text in SCRIPTS.items() if name.endswith(".cfg")}
STARTS_A_DISK = re.compile(r"sanboot|chainloader|^\s*exit", re.MULTILINE)


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_script_is_the_one_that_is_kept(name: str) -> None:
    assert SCRIPTS[name] == (golden.FOLDER / name).read_text(encoding="ascii")


def test_no_script_is_kept_that_nothing_makes() -> None:
    assert {path.name for path in golden.FOLDER.iterdir()} == set(SCRIPTS)


@pytest.mark.parametrize("name", sorted(GRUB))
def test_grub_itself_can_read_the_script(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(GRUB[name], encoding="ascii")
    checked = subprocess.run(["grub-script-check", str(tmp_path / name)], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("name", sorted(IPXE))
def test_every_label_an_ipxe_script_goes_to_is_there_once(name: str) -> None:
    text = IPXE[name]
    labels = re.findall(r"^:([a-z-]+)$", text, re.MULTILINE)
    targets = set(re.findall(r"goto ([a-z-]+)", text)) | set(re.findall(r"^item ([a-z-]+) ", text, re.MULTILINE))
    assert sorted(set(labels)) == sorted(labels)
    assert targets <= set(labels)
    assert text.startswith("#!ipxe\n")


@pytest.mark.parametrize("name", [n for n in SCRIPTS if n.split(".")[0] not in {"local", "menu"}])
def test_only_the_pages_for_it_start_a_disk_and_none_exits(name: str) -> None:
    assert not STARTS_A_DISK.search(SCRIPTS[name])


@pytest.mark.parametrize("text", [SCRIPTS["sealed.ipxe"], SCRIPTS["sealed.cfg"]])
def test_a_sealed_pc_is_told_why_and_powers_off(text: str) -> None:
    assert "MASTER is SEALED" in text
    assert re.search(r"^(poweroff|halt)\b", text, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(IPXE))
def test_ctrl_c_never_ends_a_script_and_lets_the_firmware_start_the_disk(name: str) -> None:
    """A command that fails or is interrupted ends an iPXE script, unless `||` says what comes instead."""
    may_be_interrupted = re.compile(r"^(sleep|prompt|choose|kernel|initrd|boot|reboot|poweroff|sanboot)\b")
    for line in IPXE[name].splitlines():
        assert not may_be_interrupted.match(line) or "||" in line, line


def test_the_same_answer_offers_the_same_entries_in_both_languages() -> None:
    for name in ("menu", "menu-capture-waits"):
        ipxe = re.findall(r"^item (\S+) (.*)$", SCRIPTS[f"{name}.ipxe"], re.MULTILINE)
        grub = re.findall(r'^menuentry "([^"]*)" --id (\S+) ', SCRIPTS[f"{name}.cfg"], re.MULTILINE)
        assert ipxe == [(entry, title) for title, entry in grub]


def test_the_waiting_menu_never_starts_anything_by_itself() -> None:
    assert "--timeout" not in SCRIPTS["menu-capture-waits.ipxe"]
    assert "set timeout=-1" in SCRIPTS["menu-capture-waits.cfg"]


def test_windows_is_looked_for_first_and_removable_media_last() -> None:
    assert EFI_LOADERS[0].endswith("bootmgfw.efi")
    assert EFI_LOADERS[-1] == "/EFI/BOOT/BOOTX64.EFI"


def test_grub_finds_the_box_under_tftp_and_under_http_boot() -> None:
    pattern = re.search(r'regexp --set=1:diecast_address "([^"]+)"', grub_entry(TEMPLATES, 80))
    assert pattern is not None
    for server in ("10.20.4.1", "10.20.4.1:8080"):
        found = re.match(pattern[1], server)
        assert found is not None
        assert found[1] == "10.20.4.1"


def test_the_kernel_line_names_box_pc_and_purpose() -> None:
    line = kernel_args(golden.subject(None), Purpose.REGISTER)
    assert line.startswith(
        "diecast.server=http://10.20.4.1:8080 diecast.mac=52:54:00:aa:01:02 diecast.purpose=register "
    )


@given(st.sampled_from(list(Loader)), st.sampled_from(list(golden.cases("uefi"))), st.text(min_size=1, max_size=30))
@settings(max_examples=150)
def test_no_name_can_add_a_command_to_a_script(loader: Loader, case: str, name: str) -> None:
    answer, _ = golden.cases("uefi")[case]
    subject = Subject(golden.MAC, "10.20.4.1:80", host_name=name, capture_image=name)
    plain = Subject(golden.MAC, "10.20.4.1:80", host_name="x", capture_image="x")
    try:
        text = render(TEMPLATES, loader, answer, subject)
    except BadData:
        return
    assert len(text.splitlines()) == len(render(TEMPLATES, loader, answer, plain).splitlines())
    assert text.count("$") == render(TEMPLATES, loader, answer, plain).count("$")


@pytest.mark.parametrize("netloc", ["", "10.0.0.1", "10.0.0.1:80/x", "10.0.0.1:80\nboot", "a b:80", "${x}:80"])
def test_a_strange_server_address_is_refused(netloc: str) -> None:
    answer, host = golden.cases("uefi")["agent"]
    assert answer.kind is BootKind.RUN_AGENT
    with pytest.raises(BadData):
        render(TEMPLATES, Loader.GRUB, answer, Subject(golden.MAC, netloc, host_name=host.name if host else ""))


def test_a_missing_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"agent\.ipxe"):
        Templates.load(tmp_path)
