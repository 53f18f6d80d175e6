"""The formats lists come in, one module each; `FORMATS` names them, `detect` tells which one a file is."""

from __future__ import annotations

import codecs
from pathlib import Path

from videonovelty.errors import SettingsError
from videonovelty.known.formats import digests, ncmec, nsrl, pdq, tables, vics
from videonovelty.known.formats.reading import Format

FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("digests", "MD5, SHA-1 or SHA-256 a line; md5sum, sha256sum", digests.read),
        Format("hashdeep", "hashdeep's output", digests.read_hashdeep),
        Format("csv", "CSV with named columns", tables.read),
        Format("icse", "INTERPOL ICSE, CSV", tables.read, disposition="abuse"),
        Format("nsrl2", "NSRL RDS version 2, CSV", tables.read, disposition="benign"),
        Format("nsrl3", "NSRL RDS version 3, SQLite", nsrl.read, disposition="benign"),
        Format("vics", "Project VIC 1.x and 2.0, JSON", vics.read),
        Format("caid", "NIST CAID, JSON", vics.read_caid, disposition="benign"),
        Format("ncmec", "NCMEC hash sharing version 2, XML", ncmec.read, disposition="abuse", resumable=False),
        Format("vpdq", "vPDQ text, a file a video", pdq.read_text, resumable=False),
        Format("vpdq-json", "python-threatexchange's vPDQ JSON, a file a video", pdq.read_json, resumable=False),
        Format("pdq", "PDQ hashes, one a line, with or without quality", pdq.read_list),
    )
}
_HEAD = 1 << 14


def detect(path: Path) -> Format:
    """Return the format of a file by how it begins. Raises SettingsError where that does not tell.

    64 hexadecimal digits alone are taken for SHA-256: a list of PDQ hashes without quality needs `--format pdq`.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    found = _by_head(head)
    if found is None:
        raise SettingsError(f"{path.name}: not a list we know; say what it is with --format: {', '.join(FORMATS)}.")
    return FORMATS[found]


def _by_head(head: bytes) -> str | None:
    if head.startswith(b"SQLite format 3\0"):
        return "nsrl3"
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    text = head.decode(encoding, "replace").lstrip()
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    if text.startswith("<"):
        return "ncmec" if "queryResult" in text else None
    if text.startswith("{"):
        return "vics" if "odata." in text or '"Media"' in text or '"MD5"' in text else "vpdq-json"
    if text.startswith("["):
        return "vpdq-json" if text[1:].lstrip()[:1] == '"' else "vics"
    if first.startswith(digests.HASHDEEP):
        return "hashdeep"
    if pdq.TEXT_LINE.fullmatch(first):
        return "vpdq"
    names = {tables.plain_name(name) for name in first.split(tables.delimiter_of(first))}
    if {"sha1", "md5", "crc32", "specialcode"} <= names:
        return "nsrl2"
    if {"md5", "baseline", "seriesname"} <= names:
        return "icse"
    if names & {name for kind in ("md5", "sha1", "sha256", "pdq") for name in tables.COLUMNS[kind]}:
        return "csv"
    listed = pdq.LIST_LINE.fullmatch(first)
    if listed and listed[2]:
        return "pdq"
    plain = digests.PLAIN.fullmatch(first)
    if (plain and len(plain[1]) in digests.KIND_OF_LENGTH) or digests.BSD.fullmatch(first):
        return "digests"
    return None
