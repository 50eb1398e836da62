"""What the image consists of: a list for people, an SPDX 2.3 document for programs, both from dpkg's own records.

Reference: SPDX 2.3, "Package information"; purl-spec, type deb.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bootdisk.command import run

from applianceimage.packages import field

_FORMAT = r"${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\t${Maintainer}\n"
_NAMESPACE = "https://diecast.invalid/spdx/"  # only has to be unique (SPDX 2.3, 6.5)


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One Debian package of the image."""

    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    supplier: str
    how: str  # "installed", or "boot": its files are in boot sectors and on the ESP


def _package(line: str, how: str) -> Package:
    name, version, architecture, source, source_version, supplier = line.rstrip("\n").split("\t")
    return Package(name, version, architecture, source, source_version, supplier, how)


def installed(root: Path) -> list[Package]:
    """What dpkg knows in `root`."""
    text = run(["dpkg-query", f"--admindir={root}/var/lib/dpkg", "--show", f"--showformat={_FORMAT}"])
    return sorted(_package(line, "installed") for line in text.splitlines())


def taken_apart(debs: list[Path]) -> list[Package]:
    """Packages that are not installed, but whose files boot the machine."""
    found = []
    for deb in debs:
        found.append(_package(run(["dpkg-deb", "--show", f"--showformat={_FORMAT}", deb]), "boot"))
    return sorted(found)


def listing(packages: list[Package]) -> str:
    """packages.txt: name, version, architecture, source, and how it is in the image; tabs between."""
    lines = [f"{p.name}\t{p.version}\t{p.architecture}\t{p.source} {p.source_version}\t{p.how}" for p in packages]
    return "\n".join(["# name, version, architecture, source, how", *lines]) + "\n"


def python_parts(deb: Path | None) -> list[tuple[str, str]]:
    """Name and version of every wheel in Diecast's package, by the .dist-info folders in it."""
    if deb is None:
        return []
    lines = run(["dpkg-deb", "--contents", deb]).splitlines()
    folders = {part for line in lines for part in line.split()[5].split("/") if part.endswith(".dist-info")}
    return sorted(
        (name, version) for name, _, version in (f.removesuffix(".dist-info").partition("-") for f in folders)
    )


def spdx(name: str, packages: list[Package], wheels: list[tuple[str, str]], epoch_s: int) -> str:
    """The SPDX document, the same for the same packages."""
    entries = [_debian(package) for package in packages] + [_wheel(*wheel) for wheel in wheels]
    identity = hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
    image = {
        "SPDXID": "SPDXRef-Image",
        "name": name,
        "versionInfo": name.rpartition("-")[2],
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
    }
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"{_NAMESPACE}{name}-{identity}",
        "creationInfo": {
            "created": datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": ["Tool: diecast-image-build"],
        },
        "packages": [image, *entries],
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": "SPDXRef-Image",
            },
            *(
                {
                    "spdxElementId": "SPDXRef-Image",
                    "relationshipType": "CONTAINS",
                    "relatedSpdxElement": entry["SPDXID"],
                }
                for entry in entries
            ),
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def _relation(subject: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": subject, "relationshipType": kind, "relatedSpdxElement": other}


def _debian(package: Package) -> dict[str, Any]:
    version = quote(package.version, safe="")
    return {
        "SPDXID": _identifier("deb", package.name),
        "name": package.name,
        "versionInfo": package.version,
        "supplier": f"Organization: {package.supplier}",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "sourceInfo": f"built from {package.source} {package.source_version}; {package.how}",
        "licenseDeclared": "NOASSERTION",
        "comment": f"Licence: /usr/share/doc/{package.name}/copyright in the image.",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": f"pkg:deb/debian/{quote(package.name)}@{version}?arch={package.architecture}",
            }
        ],
    }


def _wheel(name: str, version: str) -> dict[str, Any]:
    return {
        "SPDXID": _identifier("pypi", name),
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "sourceInfo": "inside the package diecast",
        "licenseDeclared": "NOASSERTION",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(version, safe='')}",
            }
        ],
    }


def _identifier(kind: str, name: str) -> str:
    # Letters, digits, dots and hyphens only (SPDX 2.3, 7.2).
    return f"SPDXRef-{kind}-" + "".join(sign if sign.isalnum() or sign in ".-" else f"-{ord(sign):x}-" for sign in name)


def depends_of(deb: Path | None) -> str:
    """The Depends field of Diecast's package."""
    return field(deb, "Depends") if deb else ""
