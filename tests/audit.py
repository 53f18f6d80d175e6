"""What is installed, down to the shared libraries inside wheels: bill of materials, licences, known advisories.

    python tests/audit.py [--out audit] [--everything]           (make audit)

Writes OUT/sbom.cdx.json (CycloneDX 1.6) and OUT/audit.md. Looks at what videonovelty needs to run, with the extras that
are installed; `--everything` looks at every distribution of the environment. Nothing is fetched: versions and licences
are read from the installed files themselves, and the advisories are the list in this file, dated, which no more than
names what was known when it was written. Use an online service (osv.dev, `pip-audit`) on sbom.cdx.json for the rest.

Exit code 1: a licence is unknown, a library inside a wheel is, or FFmpeg where intake is decoded has a known hole.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import re
import sys
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, cast

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
TOOL = "videonovelty"


@dataclass(frozen=True)
class Known:
    """How a library is recognised inside a wheel."""

    version: str
    """Regular expression over the file's bytes whose first group is the version; empty: the file's name says it."""
    licence: str
    project: str = ""
    """Name in the bill of materials, where it is not the file's."""


# Licences are those of the projects' own COPYING files. Versions: the string the library prints about itself.
LIBRARIES: dict[str, Known] = {
    **dict.fromkeys(
        ("libavcodec", "libavformat", "libavutil", "libavfilter", "libavdevice", "libswscale", "libswresample"),
        Known(r"FFmpeg version n?([0-9][0-9.]*)", "LGPL-2.1-or-later", "ffmpeg"),
    ),
    "libx264": Known("", "GPL-2.0-or-later", "x264"),
    "libx265": Known(r"\0([0-9]\.[0-9]+\+[0-9]+-[0-9a-f]{7,})\0", "GPL-2.0-or-later", "x265"),
    "libvpx": Known(r"WebM Project VP8 Decoder v([0-9.]+)", "BSD-3-Clause"),
    "libSvtAv1Enc": Known(r"\0v([0-9]+\.[0-9]+\.[0-9]+)\0", "BSD-3-Clause-Clear", "svt-av1"),
    "libdav1d": Known("", "BSD-2-Clause", "dav1d"),
    "libaom": Known(r"AOMedia Project AV1 Decoder ([0-9.]+)", "BSD-2-Clause"),
    "libvmaf": Known("", "BSD-2-Clause-Patent"),
    "libopus": Known(r"libopus ([0-9.]+)", "BSD-3-Clause"),
    "libmp3lame": Known(r"\0(3\.[0-9]{2,3}(?:\.[0-9]+)?)\0", "LGPL-2.0-or-later", "lame"),
    "libopencore-amrnb": Known("", "Apache-2.0"),
    "libopencore-amrwb": Known("", "Apache-2.0"),
    "libwebp": Known("", "BSD-3-Clause"),
    "libwebpmux": Known("", "BSD-3-Clause"),
    "libwebpdemux": Known("", "BSD-3-Clause"),
    "libsharpyuv": Known("", "BSD-3-Clause"),
    "libvpl": Known("", "MIT"),
    "libdrm": Known("", "MIT"),
    "libgnutls": Known(r"\0(3\.[0-9]+\.[0-9]+)\0", "LGPL-2.1-or-later", "gnutls"),
    "libnettle": Known("", "LGPL-3.0-or-later OR GPL-2.0-or-later", "nettle"),
    "libhogweed": Known("", "LGPL-3.0-or-later OR GPL-2.0-or-later", "nettle"),
    "libgmp": Known(r"\0(6\.[0-9]+\.[0-9]+)\0", "LGPL-3.0-or-later OR GPL-2.0-or-later", "gmp"),
    "libunistring": Known("", "LGPL-3.0-or-later OR GPL-2.0-or-later"),
    "libasound": Known("", "LGPL-2.1-or-later", "alsa-lib"),
    **dict.fromkeys(("libxcb", "libxcb-shape", "libxcb-shm", "libxcb-xfixes"), Known("", "MIT", "libxcb")),
    "libXau": Known("", "MIT"),
    "libssl": Known(r"OpenSSL ([0-9]\.[0-9]+\.[0-9]+[a-z]?)", "OpenSSL", "openssl"),
    "libcrypto": Known(r"OpenSSL ([0-9]\.[0-9]+\.[0-9]+[a-z]?)", "OpenSSL", "openssl"),
    "libopenblas": Known(r"OpenBLAS ([0-9.]+[0-9])", "BSD-3-Clause", "openblas"),
    "libscipy_openblas": Known(r"OpenBLAS ([0-9.]+[0-9])", "BSD-3-Clause", "openblas"),
    "libgfortran": Known("", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    "libquadmath": Known("", "LGPL-2.1-or-later"),
    "libgomp": Known("", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    "libstdc++": Known("", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    "libgcc_s": Known("", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    "libavif": Known("", "BSD-2-Clause"),
    "libpng16": Known(r"libpng version ([0-9.]+[0-9])", "libpng-2.0", "libpng"),
    "libjpeg": Known("", "IJG AND BSD-3-Clause", "libjpeg-turbo"),
    "libtiff": Known(r"LIBTIFF, Version ([0-9.]+[0-9])", "libtiff"),
    "libfreetype": Known("", "FTL OR GPL-2.0-or-later", "freetype"),
    "libharfbuzz": Known("", "MIT-Modern-Variant", "harfbuzz"),
    "liblcms2": Known("", "MIT"),
    "liblzma": Known("", "0BSD"),
    "libopenjp2": Known("", "BSD-2-Clause"),
    "libbrotlicommon": Known("", "MIT"),
    "libbrotlidec": Known("", "MIT"),
    "libzstd": Known("", "BSD-3-Clause OR GPL-2.0-only"),
    "libz": Known(r"deflate ([0-9.]+) ", "Zlib", "zlib"),
    "libarrow": Known("", "Apache-2.0", "arrow"),
    "libparquet": Known("", "Apache-2.0", "arrow"),
    "libllvmlite": Known("", "BSD-2-Clause AND Apache-2.0 WITH LLVM-exception", "llvmlite with LLVM"),
    "libtbb": Known("", "Apache-2.0"),
}

COPYLEFT = re.compile(r"(?<![A-Z])A?GPL-")
WEAK = re.compile(r"LGPL-|MPL-")


@dataclass(frozen=True)
class Advisory:
    """What was known about a library on the day named."""

    project: str
    below: tuple[int, ...]
    text: str
    where: str
    """Wheels in which it counts: those whose code sees intake."""


AS_OF = "2026-11-25"
ADVISORIES = (
    Advisory("ffmpeg", (8, 1, 2), "decoder and demuxer holes fixed in FFmpeg 8.1.2 (CVE-2026-8461 among them)", "av"),
    Advisory(
        "openssl",
        (3, 0, 0),
        "OpenSSL 1.1.1 has had no public security fixes since September 2023. Nothing of videonovelty calls it: OpenCV "
        "is asked for no file, stream or address (tests/test_layers.py), and the decoding process may open no socket",
        "",
    ),
)


@dataclass
class Library:
    """One shared library inside a wheel."""

    file: str
    sha256: str
    project: str
    version: str
    licence: str
    said: list[str] = field(default_factory=list)
    """What it says of itself that bears on its licence."""


@dataclass
class Wheel:
    """One installed distribution."""

    name: str
    version: str
    licence: str
    licence_files: list[str]
    libraries: list[Library]
    embedded: list[dict[str, Any]]
    """Components its own bills of materials (PEP 770) name."""


def needed(start: str = TOOL) -> list[str]:
    """Return the distributions `start` needs to run here, with those of its extras that are wholly installed."""
    extras = {"tune", "onnx", "report-xlsx"}
    found: dict[str, None] = {}
    pending: list[tuple[str, frozenset[str]]] = [(start, frozenset({"", *extras}))]
    while pending:
        name, wanted = pending.pop()
        try:
            metadata = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if canonical(name) in found:
            continue
        found[canonical(name)] = None
        for text in metadata.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": one}) for one in wanted):
                pending.append((requirement.name, frozenset({"", *requirement.extras})))
    return sorted(found)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wheel(name: str) -> Wheel:
    """Look at one installed distribution."""
    distribution = importlib.metadata.distribution(name)
    files = [(str(file), Path(str(distribution.locate_file(file)))) for file in distribution.files or ()]
    licence_files = sorted(
        shown
        for shown, path in files
        if re.search(r"(^|/)(licen[cs]e|copying|notice|authors)[^/]*$", shown, re.IGNORECASE) and path.suffix != ".pyc"
    )
    libraries = [library(shown, path) for shown, path in files if is_bundled_library(shown) and path.exists()]
    embedded = [
        component
        for shown, path in files
        if "/sboms/" in shown and path.suffix == ".json"
        for component in json.loads(path.read_text()).get("components", [])
        if canonical(component.get("name", "")) != canonical(name)
    ]
    metadata = cast(Message, distribution.metadata)
    return Wheel(canonical(name), distribution.version, licence_of(metadata), licence_files, libraries, embedded)


def is_bundled_library(shown: str) -> bool:
    """Whether a file of a wheel is a library other software made, not an extension module of its own."""
    base = shown.rsplit("/", 1)[-1]
    own = "cpython" in base or "abi3" in base or "arrow_python" in base
    return base.startswith("lib") and re.search(r"\.so(\.|$)", base) is not None and not own


def licence_of(metadata: Message) -> str:
    """Return the licence a wheel declares: the expression, else its classifiers, else the first line of its text."""
    expression = metadata.get("License-Expression")
    if expression:
        return str(expression)
    classes = [
        str(value).rsplit(" :: ", 1)[-1]
        for value in metadata.get_all("Classifier") or ()
        if str(value).startswith("License ::") and not str(value).endswith("OSI Approved")
    ]
    text = str(metadata.get("License") or "").strip().splitlines()
    return " AND ".join(classes) or (text[0][:80] if text else "")


def library(shown: str, path: Path) -> Library:
    """Read one shared library: what it is, which version, and what it says about its licence."""
    content = path.read_bytes()
    base = path.name.split(".so")[0]
    stem = re.sub(r"-[0-9a-f]{8}.*$", "", base).rstrip("_-")
    stem = re.sub(r"((?<=openblas)64_?|p-r0.*)$", "", stem).rstrip("_-")
    known = LIBRARIES.get(stem) or LIBRARIES.get(re.sub(r"_.*$", "", stem))
    suffix = path.name.split(".so", 1)[1].lstrip(".")
    version = f"soname {suffix}" if suffix else "unknown"
    if known is not None and known.version and (match := re.search(known.version.encode(), content)):
        version = match[1].decode()
    said = sorted(
        {
            *(m.decode() for m in re.findall(rb"lib[a-z]+ license: [ -~]{3,60}", content)),
            *(m.decode() for m in re.findall(rb"--enable-(?:gpl|version3|nonfree|libx26[45])(?![a-z0-9])", content)),
            *(m.decode() for m in re.findall(rb"FFmpeg version [0-9.]+", content)),
        }
    )
    return Library(
        shown,
        hashlib.sha256(content).hexdigest(),
        (known.project if known else "") or stem,
        version,
        known.licence if known else "",
        said,
    )


LINKED_IN = {
    "openssl": (rb"OpenSSL ([0-9]+\.[0-9]+\.[0-9]+[a-z]?) +[0-9]{1,2} [A-Z][a-z]{2} 20[0-9]{2}", "Apache-2.0"),
    "zlib": (rb" deflate ([0-9][0-9.]+)[ -~]{0,20} Copyright", "Zlib"),
    "llvm": (rb"LLVM version ([0-9.]+[0-9])", "Apache-2.0 WITH LLVM-exception"),
}
"""Libraries that are linked into others: what they print about themselves → version, and their licence."""


def linked_in(shown: str, path: Path) -> Iterator[Library]:
    """Yield the libraries that are part of a shared library or extension module."""
    if path.name.startswith(("libssl", "libcrypto", "libz")):
        return
    content = path.read_bytes()
    for project, (pattern, licence) in LINKED_IN.items():
        for version in sorted({match.decode() for match in re.findall(pattern, content)}):
            digest = hashlib.sha256(content).hexdigest()
            right = "OpenSSL" if project == "openssl" and version < "3" else licence
            yield Library(f"{shown} ({project} linked in)", digest, project, version, right)


# ---- what is found -------------------------------------------------------------------------------------------


def problems(wheels: Iterable[Wheel]) -> Iterator[str]:
    """Yield what makes the audit fail."""
    for one in wheels:
        if not one.licence:
            yield f"{one.name} {one.version}: declares no licence"
        for lib in one.libraries:
            if not lib.licence:
                yield f"{one.name}: {lib.file}: a library this audit does not know"
        for advisory, lib in advisories(one):
            if advisory.where == one.name:
                yield f"{one.name}: {lib.project} {lib.version}: {advisory.text}"


def advisories(one: Wheel) -> Iterator[tuple[Advisory, Library]]:
    """Yield the known advisories about the libraries inside a wheel, one a project and version."""
    seen = set()
    for lib in one.libraries:
        for advisory in ADVISORIES:
            number = tuple(int(part) for part in re.findall(r"\d+", lib.version)[:3])
            old = advisory.project == lib.project and number < advisory.below
            if old and (key := (advisory.project, lib.version)) not in seen:
                seen.add(key)
                yield advisory, lib


def sbom(wheels: list[Wheel]) -> dict[str, Any]:
    """Return the bill of materials, CycloneDX 1.6; the same for the same installation, but for its serial number."""
    components: list[dict[str, Any]] = []
    dependencies = []
    for one in wheels:
        ref = f"pkg:pypi/{one.name}@{one.version}"
        inside = []
        for lib in one.libraries:
            inside.append(
                {
                    "type": "library",
                    "bom-ref": f"{ref}#{lib.file}",
                    "name": lib.project,
                    "version": lib.version,
                    "hashes": [{"alg": "SHA-256", "content": lib.sha256}],
                    "licenses": [{"expression": lib.licence}] if lib.licence else [],
                    "properties": [
                        {"name": "file", "value": lib.file},
                        *({"name": "says", "value": text} for text in lib.said),
                    ],
                }
            )
        for number, component in enumerate(one.embedded):
            kept = {key: component[key] for key in ("type", "name", "version", "purl") if key in component}
            inside.append({**kept, "type": kept.get("type", "library"), "bom-ref": f"{ref}#sbom/{number}"})
        is_spdx = re.fullmatch(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+-]+)*", one.licence)
        components.append(
            {
                "type": "application" if one.name == TOOL else "library",
                "bom-ref": ref,
                "name": one.name,
                "version": one.version,
                "purl": ref,
                "licenses": [{"expression": one.licence}]
                if is_spdx
                else [{"license": {"name": one.licence or "unknown"}}],
                "properties": [{"name": "licence file", "value": file} for file in one.licence_files],
                "components": inside,
            }
        )
        dependencies.append({"ref": ref, "dependsOn": [c["bom-ref"] for c in inside]})
    root = next((c for c in components if c["name"] == TOOL), None)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "component": {key: root[key] for key in ("type", "bom-ref", "name", "version")} if root else {},
            "properties": [{"name": "python", "value": sys.version.split()[0]}],
        },
        "components": [c for c in components if c is not root],
        "dependencies": dependencies,
    }


def report(wheels: list[Wheel]) -> str:
    """Return the audit for people."""
    libraries = [(one, lib) for one in wheels for lib in one.libraries]
    strong = [(one, lib) for one, lib in libraries if COPYLEFT.search(lib.licence) and "WITH GCC" not in lib.licence]
    strong = [(one, lib) for one, lib in strong if " OR " not in lib.licence]
    lines = [
        "# Audit",
        "",
        f"{len(wheels)} distributions, {len(libraries)} shared libraries inside them. Read from the installed files; "
        "nothing was fetched.",
        "",
        "## What the licences mean",
        "",
        *meaning(wheels, strong),
        "",
        "## Advisories",
        "",
        f"Known here as of {AS_OF}; this list is short on purpose and no substitute for an online service.",
        "",
    ]
    found = [(one, advisory, lib) for one in wheels for advisory, lib in advisories(one)]
    lines += [f"- {one.name}: {lib.project} {lib.version}: {a.text}." for one, a, lib in found] or ["- none"]
    wrong = list(problems(wheels))
    lines += ["", "## Problems", "", *([f"- {text}" for text in wrong] or ["- none"])]
    lines += ["", "## Distributions", "", "| name | version | licence | licence files |", "|---|---|---|---|"]
    lines += [f"| {w.name} | {w.version} | {w.licence or '**unknown**'} | {len(w.licence_files)} |" for w in wheels]
    lines += ["", "## Shared libraries inside wheels", "", "| wheel | library | version | licence | file |"]
    lines += ["|---|---|---|---|---|"]
    lines += [
        f"| {one.name} | {lib.project} | {lib.version} | {lib.licence or '**unknown**'} | {Path(lib.file).name} |"
        for one, lib in libraries
    ]
    return "\n".join(lines) + "\n"


def meaning(wheels: list[Wheel], strong: list[tuple[Wheel, Library]]) -> Iterator[str]:
    """Yield in plain words what somebody who passes the installation on has to know."""
    if not strong:
        yield "- No wheel bundles a library under the GPL."
    by_wheel: dict[str, list[str]] = {}
    for one, lib in strong:
        by_wheel.setdefault(one.name, []).append(f"{lib.project} {lib.version} ({lib.licence})")
    for name, libs in by_wheel.items():
        one = next(w for w in wheels if w.name == name)
        said = sorted({text.split(": ")[1] for lib in one.libraries for text in lib.said if "license: " in text})
        yield (
            f"- The wheel **{name}** declares {one.licence}, but bundles {' and '.join(libs)}"
            + (f"; its FFmpeg was built to load them, and says of itself: {'; '.join(said)}" if said else "")
            + ". Running it obliges you to nothing. Whoever passes on an image or a disk with this wheel passes on GPL "
            "software and owes its recipients the source of those libraries under the GPL; the combination counts as "
            "GPL (version 3, where FFmpeg is built with --enable-version3). videonovelty itself is Apache-2.0, which "
            "is compatible with version 3, not with version 2 alone. This is a reading of the files, not legal advice."
        )
        if name == "av":
            yield (
                "- videonovelty decodes intake with FFmpeg's own decoders, libdav1d and libvpx; x264 and x265 only "
                "encode (demo, samples, validation, tests). An FFmpeg without them serves for production."
            )
    weak = sorted({f"{one.name}: {one.licence}" for one in wheels if WEAK.search(one.licence)})
    if weak:
        yield f"- Under a weak copyleft, unmodified and loaded at run time: {'; '.join(weak)}."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "audit")
    parser.add_argument("--everything", action="store_true")
    options = parser.parse_args()
    names = (
        sorted({canonical(str(d.name)) for d in importlib.metadata.distributions()}) if options.everything else needed()
    )
    wheels = [wheel(name) for name in names]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "sbom.cdx.json").write_text(json.dumps(sbom(wheels), indent=1) + "\n")
    (options.out / "audit.md").write_text(report(wheels))
    wrong = list(problems(wheels))
    print(f"{len(wheels)} distributions, {sum(len(w.libraries) for w in wheels)} libraries inside them")
    print(f"{options.out}/audit.md, {options.out}/sbom.cdx.json")
    for text in wrong:
        print(f"problem: {text}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
