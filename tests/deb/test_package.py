"""What the package is: the same bytes from the same inputs, the tested versions, nothing that Debian refuses."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from appliance import __version__, config
from appliance.config_keys import all_keys
from tests.deb.conftest import PROJECT, build

RECIPE = PROJECT / "image-build/deb/recipe"
SITE = "usr/lib/diecast/venv/lib/python3.13/site-packages"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path) -> dict[str, str]:
    lines = [line.split()[0] for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {normal(name): version for name, _, version in (line.partition("==") for line in lines)}


def test_the_packages_python_has_the_versions_that_are_tested_and_all_that_the_program_asks_for() -> None:
    tested, packaged = pins(PROJECT / "constraints.txt"), pins(RECIPE / "requirements.txt")
    assert {name: tested.get(name) for name in packaged} == packaged
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    asked = {normal(re.split(r"[<>=]", line)[0]) for line in project["dependencies"]}
    assert asked - set(packaged) == {"netifaces"}
    assert all("--hash=sha256:" in line for line in (RECIPE / "requirements.txt").read_text().splitlines()[2:])


@pytest.fixture(scope="module")
def unpacked(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(folder)], check=True)
    return folder


@pytest.mark.guest
def test_the_same_inputs_give_the_same_package(package: Path, tmp_path: Path) -> None:
    again = build(str(tmp_path), "--again")
    assert again != package
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(package.read_bytes()).digest()
    listed = package.with_suffix(".packages.tsv").read_text()
    assert listed == again.with_suffix(".packages.tsv").read_text()
    assert f"diecast\t{__version__}\tsha256:{hashlib.sha256(package.read_bytes()).hexdigest()}\t" in listed


@pytest.mark.guest
def test_the_list_beside_it_has_every_package_that_is_in_it(package: Path) -> None:
    lines = [line.split("\t") for line in package.with_suffix(".packages.tsv").read_text().splitlines()]
    found = {normal(line[0]): line[1] for line in lines}
    assert pins(RECIPE / "requirements.txt").items() <= found.items()
    assert found["netifaces"].startswith(pins(PROJECT / "constraints.txt")["netifaces"])
    assert any(name.startswith("agent:linux-image-6") for name in found)


@pytest.mark.guest
def test_lintian_finds_no_error(package: Path) -> None:
    command = ["lintian", "--allow-root", "--fail-on", "error", "--tag-display-limit", "0", str(package)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if line.startswith("E:")]
    assert (done.returncode, errors) == (0, []), done.stderr


@pytest.mark.guest
def test_byte_code_is_there_for_every_source_and_knows_no_time(unpacked: Path) -> None:
    site = unpacked / SITE
    for source in (site / "appliance").rglob("*.py"):
        code = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        assert code.read_bytes()[4:8] == b"\1\0\0\0"  # PEP 552: by hash, unchecked
    assert not list(unpacked.rglob("*.pyo"))
    times = {path.lstat().st_mtime for path in unpacked.rglob("*") if path.is_file() and "DEBIAN" not in path.parts}
    assert len(times) == 1


@pytest.mark.guest
def test_the_settings_file_says_every_key_and_sets_none(unpacked: Path) -> None:
    text = (unpacked / "etc/diecast/diecast.toml").read_text()
    assert config.parse(tomllib.loads(text)) == config.Settings()
    assert not re.search(r"^\w+ *=", text, re.MULTILINE)
    section, said = "", set()
    for line in text.splitlines():
        if found := re.fullmatch(r"#?\[+([\w.]+)\]+", line):
            section = found[1]
        elif found := re.match(r"#(\w+) = ", line):
            said.add(f"{section}.{found[1]}")
    assert {key.name for key in all_keys()} - {"dhcp.subnet"} <= said
    assert "dhcp.subnet.range_first" in said


@pytest.mark.guest
def test_what_units_are_enabled_is_left_to_who_installs_it(unpacked: Path) -> None:
    assert not list(unpacked.rglob("*.preset"))
    scripts = "".join((unpacked / "DEBIAN" / name).read_text() for name in ("preinst", "postinst"))
    assert "enable --now" not in re.sub(r"^ *#.*$", "", scripts, flags=re.MULTILINE)
    assert not list(unpacked.glob("etc/systemd/**/*"))


@pytest.mark.guest
def test_nothing_in_it_knows_the_machine_it_was_built_on(package: Path, unpacked: Path) -> None:
    for path in unpacked.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.suffix in {"", ".py", ".pyc", ".cfg", ".tsv", ".md"}:
            data = path.read_bytes()
            assert str(PROJECT).encode() not in data, path
            assert b"/deb-cache/" not in data, path
    listed = subprocess.run(["dpkg-deb", "--contents", str(package)], check=True, capture_output=True, text=True)
    assert {line.split()[1] for line in listed.stdout.splitlines()} == {"root/root"}
