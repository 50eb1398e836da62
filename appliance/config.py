"""Settings: nested frozen dataclasses, read once from one TOML file and passed down.

Every key carries its default and its documentation as field metadata, so that `diecast config --defaults`, the check
of unknown keys and the operator's manual say the same thing. Only `cli` decides which file is read; this module is
also the only one that knows default paths.

Operators change single keys while the box runs: such an override is a JSON value kept in the store
(`appliance.overrides`) and laid over the file by `with_overrides`, through the same checks. `paths` is the file's
alone, since it says where the store is.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from appliance.errors import ConfigError

DEFAULT_CONFIG_PATH = Path("/etc/diecast/diecast.toml")


def _key(default: Any, doc: str) -> Any:
    """A settings field with its documentation."""
    if isinstance(default, (list, dict)):
        raise TypeError("settings defaults are immutable")
    return field(default=default, metadata={"doc": doc})


def bootfiles_dir() -> Path:
    """The folder of boot script templates: beside the package in a checkout, inside it when installed."""
    inside = Path(__file__).parent / "_bootfiles"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "bootfiles"


@dataclass(frozen=True, slots=True)
class Paths:
    """Where things lie."""

    state: Path = _key(Path("/var/lib/diecast"), "Folder of the store (diecast.sqlite) and of run-time state.")
    images: Path = _key(Path("/srv/diecast"), "Folder of the image store: chunks/, versions/, staging/.")
    boot: Path = _key(Path("/usr/lib/diecast/boot"), "Folder of loaders, kernel and initrd, as `make agent` leaves it.")
    run: Path = _key(Path("/run/diecast"), "Folder for sockets, pid files and generated NFS configuration.")

    @property
    def database(self) -> Path:
        """The SQLite file of the store."""
        return self.state / "diecast.sqlite"


@dataclass(frozen=True, slots=True)
class Network:
    """Which network the box serves."""

    interfaces: tuple[str, ...] = _key((), "Interfaces to answer on. Nothing is ever answered on another one.")
    address: IPv4Address | None = _key(None, "Address that clients are told. Empty: the interface's own.")


@dataclass(frozen=True, slots=True)
class Subnet:
    """One range of addresses to lend ([[dhcp.subnet]])."""

    network: IPv4Network = _key(IPv4Network("10.20.4.0/22"), "The subnet; the interface or the relay's giaddr chooses.")
    range_first: IPv4Address = _key(IPv4Address("10.20.5.1"), "First address of the dynamic range.")
    range_last: IPv4Address = _key(IPv4Address("10.20.7.250"), "Last address of the dynamic range.")
    router: IPv4Address | None = _key(None, "Option 3. Empty: none is handed out.")
    dns: tuple[IPv4Address, ...] = _key((), "Option 6.")
    ntp: tuple[IPv4Address, ...] = _key((), "Option 42.")
    domain: str = _key("", "Option 15.")


@dataclass(frozen=True, slots=True)
class Dhcp:
    """DHCP: full server, proxyDHCP beside another server, or off."""

    mode: str = _key("full", "full | proxy | off. proxy never hands out addresses.")
    force: bool = _key(False, "Start in full mode although another DHCP server answers.")
    port: int = _key(67, "UDP port to listen on.")
    proxy_port: int = _key(4011, "UDP port of the PXE boot server.")
    lease_s: int = _key(3600, "Lease time in seconds; T1 is half, T2 seven eighths of it.")
    offer_s: int = _key(10, "How long an offered address is held for its client, in seconds.")
    decline_s: int = _key(600, "How long a declined address is not lent, in seconds.")
    conflict_probe_ms: int = _key(300, "How long to wait for an answer before a fresh address is offered. 0: no probe.")
    ntp: str = _key("auto", "auto | off. auto: PCs get this box as time server while it serves NTP (chrony).")
    server_probe_s: int = _key(300, "How often to look for other DHCP servers, in seconds. 0: never.")
    subnet: tuple[Subnet, ...] = _key((), "One [[dhcp.subnet]] table for each subnet.")


@dataclass(frozen=True, slots=True)
class Tftp:
    """TFTP: loaders and GRUB's configuration."""

    port: int = _key(69, "UDP port to listen on.")
    max_blksize: int = _key(1468, "Largest block size granted (RFC 2348): what fits an Ethernet frame.")
    timeout_s: float = _key(2.0, "Seconds before a block is sent again.")
    retries: int = _key(5, "How often a block is sent again before the transfer is given up.")
    max_clients: int = _key(400, "Transfers at once.")


@dataclass(frozen=True, slots=True)
class Http:
    """HTTP: boot scripts, kernel, initrd, agent calls."""

    port: int = _key(80, "TCP port to listen on.")
    menu_timeout_s: int = _key(5, "Seconds before the menu of an unknown PC starts the local disk.")


@dataclass(frozen=True, slots=True)
class Nfs:
    """NFS exports: chunks read-only, one staging folder per capture."""

    backend: str = _key("auto", "auto | kernel | ganesha. auto takes the kernel's server where there is one.")
    port: int = _key(2049, "TCP port.")
    lease_s: int = _key(10, "NFSv4 lease time in seconds.")
    grace_s: int = _key(15, "NFSv4 grace time in seconds: how long opens wait after a restart of the server.")
    staging_uid: int = _key(65600, "User id that all writers to staging folders are squashed to; owns nothing else.")
    staging_limit_mb: int = _key(4096, "Largest size of a staging folder in 10^6 bytes; a capture beyond it fails.")


@dataclass(frozen=True, slots=True)
class Tasks:
    """Tasks and images."""

    silent_after_s: int = _key(300, "A running task whose PC is silent for so long has failed.")
    window_kib: int = _key(1024, "Size of a chunk's window for new captures, in KiB: 1024, 2048 or 4096.")
    zstd_level: int = _key(3, "Compression level of new chunks, 1 to 19.")
    name_pattern: str = _key("PC-{nnn}", "Name of a PC that registers without one; {nn} counts up.")
    free_reserve_mb: int = _key(1024, "Space on the image disk that captures leave free, in 10^6 bytes.")


@dataclass(frozen=True, slots=True)
class Cast:
    """Casts: a room at once by multicast (deploy --cast)."""

    groups: IPv4Network = _key(IPv4Network("239.192.68.0/24"), "Multicast groups to take from; each cast has its own.")
    port: int = _key(4020, "UDP port that PCs listen on.")
    feedback_port: int = _key(4021, "UDP port of the box that PCs answer to.")
    rate_mbit: int = _key(900, "Ceiling of all casts together, in 10^6 bits/s of UDP payload.")
    ttl: int = _key(1, "How many routers a cast may pass, plus one. More than 1 needs multicast routing.")
    wait_s: int = _key(300, "How long --wait-for waits after the first PC when no --wait-seconds is given.")
    broadcast: bool = _key(True, "Send to the subnet's broadcast address when more than half of the PCs hear no group.")


@dataclass(frozen=True, slots=True)
class Notify:
    """Notices of failed tasks and full disks, by mail and webhook (diecast notify)."""

    mail_host: str = _key("", "Name or address of the SMTP server that notices go to. Empty: no mail.")
    mail_port: int = _key(587, "TCP port of the SMTP server.")
    mail_security: str = _key("starttls", "starttls | tls | none. none sends notices in the clear, and no password.")
    mail_from: str = _key("", "Address that notices come from.")
    mail_to: tuple[str, ...] = _key((), "Addresses that notices go to.")
    mail_user: str = _key("", "Name to sign in with at the SMTP server. Empty: none is needed.")
    webhook: str = _key("", "URL (http or https) that notices are posted to as JSON. Empty: none.")


@dataclass(frozen=True, slots=True)
class Log:
    """Logs."""

    level: str = _key("info", "debug | info | warning | error.")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the operator can set in the file."""

    paths: Paths = _key(Paths(), "")
    network: Network = _key(Network(), "")
    dhcp: Dhcp = _key(Dhcp(), "")
    tftp: Tftp = _key(Tftp(), "")
    http: Http = _key(Http(), "")
    nfs: Nfs = _key(Nfs(), "")
    tasks: Tasks = _key(Tasks(), "")
    cast: Cast = _key(Cast(), "")
    notify: Notify = _key(Notify(), "")
    log: Log = _key(Log(), "")


def load(path: Path) -> Settings:
    """Read `path`. Raises `ConfigError` that names the file, the key and what was expected."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"The settings file {path} does not exist.", hint=f"Create it: diecast config --defaults > {path}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The settings file {path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The settings file {path} is not valid TOML: {error}.") from error
    return parse(data, where=str(path))


def parse(data: dict[str, Any], *, where: str = "settings") -> Settings:
    """Turn a TOML document into `Settings`. Raises `ConfigError`."""
    settings: Settings = _table(Settings, data, where, "")
    _check(settings, where)
    return settings


def _table(cls: Any, data: Any, where: str, prefix: str) -> Any:
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: '{prefix.rstrip('.')}' must be a table.")
    hints = get_type_hints(cls)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise ConfigError(
            f"{where}: unknown key '{prefix}{unknown[0]}'.",
            hint=f"Known here: {', '.join(hints)}. See: diecast config --defaults",
        )
    values = {name: _value(hints[name], value, where, prefix + name) for name, value in data.items()}
    return cls(**values)


def _value(kind: Any, value: Any, where: str, name: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _table(kind, value, where, name + ".")
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{where}: '{name}' must be a list.")
        return tuple(_value(get_args(kind)[0], item, where, name) for item in value)
    optional = type(None) in get_args(kind)
    if optional:
        kind = next(arg for arg in get_args(kind) if arg is not type(None))
        if value == "":
            return None
    return _scalar(kind, value, where, name)


def _scalar(kind: Any, value: Any, where: str, name: str) -> Any:
    wrong = ConfigError(f"{where}: '{name}' is {value!r}, but must be {KINDS[kind]}.")
    if kind in (bool, int, str):
        if type(value) is not kind:
            raise wrong
        return value
    if kind is float:
        if type(value) not in (int, float):
            raise wrong
        return float(value)
    if not isinstance(value, str):
        raise wrong
    try:
        return kind(value)
    except ValueError:
        raise wrong from None


KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
    Path: "a path in quotes",
    IPv4Address: "an IPv4 address in quotes",
    IPv4Network: "a subnet such as '10.20.4.0/22' (no host bits set)",
}

CHOICES = {
    ("dhcp", "mode"): ("full", "proxy", "off"),
    ("dhcp", "ntp"): ("auto", "off"),
    ("nfs", "backend"): ("auto", "kernel", "ganesha"),
    ("tasks", "window_kib"): (1024, 2048, 4096),
    ("notify", "mail_security"): ("starttls", "tls", "none"),
    ("log", "level"): ("debug", "info", "warning", "error"),
}

# (section, key): (smallest, largest); ports, times and sizes that would only fail later, in a service.
LIMITS: dict[tuple[str, str], tuple[float, float]] = {
    ("dhcp", "port"): (1, 65535),
    ("dhcp", "proxy_port"): (1, 65535),
    ("dhcp", "lease_s"): (60, 2**31),
    ("dhcp", "offer_s"): (2, 3600),
    ("dhcp", "decline_s"): (1, 604_800),
    ("dhcp", "conflict_probe_ms"): (0, 5000),
    ("dhcp", "server_probe_s"): (0, 86400),
    ("tftp", "port"): (1, 65535),
    ("tftp", "max_blksize"): (512, 65464),
    ("tftp", "timeout_s"): (0.1, 60),
    ("tftp", "retries"): (0, 50),
    ("tftp", "max_clients"): (1, 900),
    ("http", "port"): (1, 65535),
    ("http", "menu_timeout_s"): (0, 3600),
    ("nfs", "port"): (1, 65535),
    ("nfs", "lease_s"): (5, 120),
    ("nfs", "grace_s"): (5, 180),
    ("nfs", "staging_uid"): (1, 2**31),
    ("nfs", "staging_limit_mb"): (1, 10_000_000),
    ("tasks", "zstd_level"): (1, 19),
    ("tasks", "free_reserve_mb"): (0, 10_000_000),
    ("tasks", "silent_after_s"): (30, 86400),
    ("cast", "port"): (1, 65535),
    ("cast", "feedback_port"): (1, 65535),
    ("cast", "rate_mbit"): (1, 100_000),
    ("cast", "ttl"): (1, 255),
    ("cast", "wait_s"): (0, 86400),
    ("notify", "mail_port"): (1, 65535),
}


def _check(settings: Settings, where: str) -> None:
    for (section, key), allowed in CHOICES.items():
        value = getattr(getattr(settings, section), key)
        if value not in allowed:
            choices = ", ".join(map(str, allowed))
            raise ConfigError(f"{where}: '{section}.{key}' is {value!r}, but must be one of {choices}.")
    for (section, key), (low, high) in LIMITS.items():
        value = getattr(getattr(settings, section), key)
        if not low <= value <= high:
            raise ConfigError(f"{where}: '{section}.{key}' is {value}, but must be from {low:g} to {high:g}.")
    for subnet in settings.dhcp.subnet:
        if subnet.range_first not in subnet.network or subnet.range_last not in subnet.network:
            span = f"{subnet.range_first} to {subnet.range_last}"
            raise ConfigError(f"{where}: the range {span} is not inside {subnet.network}.")
        if subnet.range_first > subnet.range_last:
            raise ConfigError(f"{where}: the range begins at {subnet.range_first}, after its end {subnet.range_last}.")
    if not settings.cast.groups.is_multicast:
        raise ConfigError(
            f"{where}: 'cast.groups' is {settings.cast.groups}, which is no range of multicast groups.",
            hint="Take one of 239.192.0.0/14 (RFC 2365).",
        )
    if settings.dhcp.mode == "full" and settings.network.interfaces and not settings.dhcp.subnet:
        raise ConfigError(
            f"{where}: dhcp.mode is 'full', but there is no [[dhcp.subnet]].",
            hint="Add one, or set dhcp.mode = 'proxy'.",
        )
    _check_notify(settings.notify, where)


def _check_notify(notify: Notify, where: str) -> None:
    """What only goes together is not checked here: single keys are set one after the other."""
    for key, address in (("mail_from", notify.mail_from), *(("mail_to", to) for to in notify.mail_to)):
        if address and not _MAIL_ADDRESS.fullmatch(address):
            raise ConfigError(f"{where}: 'notify.{key}' has {address!r}, which is no mail address.")
    if notify.webhook and not _WEB_ADDRESS.fullmatch(notify.webhook):
        raise ConfigError(f"{where}: 'notify.webhook' must be a URL that begins with http:// or https://.")
    if notify.mail_user and notify.mail_security == "none":
        raise ConfigError(
            f"{where}: with notify.mail_user set, notify.mail_security cannot be 'none'.",
            hint="Take starttls or tls, so that the password is not sent in the clear.",
        )


# RFC 5322, 3.4.1: dot-atoms, or an address in brackets. What else the RFC allows, Python's mail headers refuse.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_MAIL_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[A-Za-z0-9.:]+\])")
_WEB_ADDRESS = re.compile(r"https?://[\x21-\x7e]+")

FILE_ONLY = ("paths",)  # sections that cannot be overridden: they say where the store is


def with_overrides(settings: Settings, values: Mapping[str, Any], *, where: str = "settings in the store") -> Settings:
    """`settings` with single keys replaced: `{"dhcp.mode": "proxy", "dhcp.subnet": [...]}` in JSON's types.

    Raises `ConfigError` naming the key: an unknown one, one of `paths`, a wrong value, or values that do not go
    together.
    """
    changes: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, _, item = name.partition(".")
        kind = _kinds(settings, section).get(item)
        if kind is None or section in FILE_ONLY:
            why = "is no key of this version" if kind is None else "can be set in the settings file only"
            raise ConfigError(f"{where}: '{name}' {why}.", hint=f"Take it back: diecast setting unset {name}")
        try:
            changes.setdefault(section, {})[item] = _value(kind, value, where, name)
        except ConfigError as error:
            raise ConfigError(error.message.replace(" in quotes", ""), hint=error.hint) from None
    sections = {name: dataclasses.replace(getattr(settings, name), **items) for name, items in changes.items()}
    changed = dataclasses.replace(settings, **sections)
    _check(changed, where)
    return changed


def _kinds(settings: Settings, section: str) -> dict[str, Any]:
    """The types of a section's keys; none for a section that does not exist."""
    return get_type_hints(type(getattr(settings, section))) if section in get_type_hints(Settings) else {}


def defaults_toml() -> str:
    """The commented TOML of every key with its default, ready to edit."""
    return "\n".join(_describe(Settings(), "")) + "\n"


def _describe(value: Any, prefix: str) -> Iterator[str]:
    for item in dataclasses.fields(value):
        inner = getattr(value, item.name)
        if dataclasses.is_dataclass(inner):
            yield from (f"# {(type(inner).__doc__ or '').strip()}", f"[{prefix}{item.name}]")
            yield from _describe(inner, f"{prefix}{item.name}.")
            yield ""
        elif item.name == "subnet":
            yield from ("", "# " + item.metadata["doc"], "#[[dhcp.subnet]]")
            yield from (line if line.startswith("# ") else f"#{line}" for line in _describe(Subnet(), ""))
        else:
            yield from (f"# {item.metadata['doc']}", f"{item.name} = {_toml(inner)}")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return '"' + ("" if value is None else str(value)) + '"'
