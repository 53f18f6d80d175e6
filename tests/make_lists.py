"""Lists as other organisations' tools write them, their damaged copies, and generated ones of any size."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter

import numpy as np

from videonovelty.errors import SettingsError
from videonovelty.known.formats import FORMATS, detect
from videonovelty.known.formats.reading import ReadOptions

MD5, SHA1, SHA256 = (hashlib.new(kind, b"x").hexdigest() for kind in ("md5", "sha1", "sha256"))
PDQ = "e42926b9" * 8


def parse(folder, data, name, *, start=0, **options):
    """Return everything a reader gives for a file of these bytes."""
    path = folder / "list"
    path.write_bytes(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
    kind = detect(path) if name == "auto" else FORMATS[name]
    with path.open("rb") as file:
        return list(kind.read(path, file, ReadOptions(**options), start))


def vics_media(number, **facts):
    """Return a media item as VICS has it."""
    item = {
        "MediaID": number,
        "Category": 1,
        "MD5": hashlib.md5(f"media {number}".encode()).hexdigest().upper(),
        "SHA1": hashlib.sha1(f"media {number}".encode()).hexdigest().upper(),
        "MediaSize": str(1000 + number),
        "VictimIdentified": "False",
        "Series": "",
        "IsPrecategorized": True,
        "Tags": "",
        "MediaFiles": [{"FileName": f"{number}.mp4", "FilePath": "C:\\x\\", "MD5": "…"}],
    }
    return item | facts


def vics_document(count):
    """Yield a VICS 2.0 document of `count` media items on one line, piece by piece."""
    yield b'{"@odata.context":"http://github.com/VICSDATAMODEL/ProjectVic/DataModels/2.0.xml/US/$metadata#Media","value":['
    for first in range(0, count, 1000):
        pieces = [json.dumps(vics_media(n)) for n in range(first, min(first + 1000, count))]
        yield ("," if first else "").encode() + ",".join(pieces).encode()
    yield b"]}"


def ncmec_page(entries, *, more):
    """Return a page of NCMEC's hash sharing around `entries`."""
    paging = "<paging><next>/v2/entries?from=…&amp;start=1001</next></paging>" if more else ""
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
        '<queryResult xmlns="https://hashsharing.ncmec.org/hashsharing/v2">'
        f'<videos count="3" maxTimestamp="2026-10-24T15:10:00Z">{entries}</videos>{paging}</queryResult>'
    )


def ncmec_video(entry, *, tag="video", md5=MD5, time="2026-10-24T15:00:00Z", feedback="", digests=None):
    """Return one entry of a page."""
    prints = f"<md5>{md5}</md5><sha1>{SHA1}</sha1>" if digests is None else digests
    body = "" if tag.startswith("deleted") else (
        f"<classification>A1</classification><fingerprints>{prints}</fingerprints>{feedback}"
    )  # fmt: skip
    member = '<member id="42">Example Member</member>'
    return f"<{tag}>{member}<timestamp>{time}</timestamp><id>{entry}</id>{body}</{tag}>"


NCMEC_PAGE = ncmec_page(
    ncmec_video("image1", tag="image", digests=f"<pdq>{PDQ}</pdq><pdna>AAAA</pdna>")
    + ncmec_video("video1")
    + ncmec_video("video4", tag="deletedVideo", time="2026-10-24T15:05:00Z")
    + ncmec_video(
        "video5",
        feedback='<feedback><negativeFeedback type="Md5"><members><member id="1">One</member></members>'
        '<reasons><reason guid="x" name="not illegal"/></reasons></negativeFeedback></feedback>',
    ),
    more=True,
)


def sound_files(folder):
    """Return format → bytes of a small sound file."""
    base = sqlite3.connect(folder / "made.db")
    base.execute("CREATE TABLE FILE (sha256 TEXT, sha1 TEXT, md5 TEXT)")
    base.executemany("INSERT INTO FILE VALUES (?, ?, ?)", [(SHA256, SHA1, MD5)] * 20)
    base.commit()
    base.close()
    header = "MD5;SHA1;Image ID;Is distributed;Victim identified;Series name;Baseline"
    texts = {
        "digests": f"{MD5}\n{SHA1}  a\n{SHA256} *b\n" * 5,
        "hashdeep": "%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n" + f"7,{MD5},{SHA256},/a\n" * 5,
        "csv": "md5,sha1,series,tags,quality,pdq\n" + f'{MD5},{SHA1},"a, b",x;y,90,{PDQ}\n' * 5,
        "icse": header + "\n" + f"{MD5};{SHA1};1;1;0;Red;Yes\n" * 5,
        "nsrl2": '"SHA-1","MD5","CRC32","FileName","SpecialCode"\n' + f'"{SHA1}","{MD5}","0","a",""\n' * 5,
        "vics": json.dumps({"odata.metadata": "1.3.xml#Media", "value": [vics_media(n) for n in range(5)]}),
        "caid": json.dumps({"odata.metadata": "1.2.xml#Media", "value": [vics_media(n) for n in range(5)]}),
        "ncmec": NCMEC_PAGE,
        "vpdq": "".join(f"{n},90,{PDQ},{n}.000\n" for n in range(6)),
        "vpdq-json": json.dumps([f"{PDQ},90,{n}" for n in range(6)]),
        "pdq": f"{PDQ},90\n" * 6,
    }
    made = {name: text.encode() for name, text in texts.items()}
    made["nsrl3"] = (folder / "made.db").read_bytes()
    (folder / "made.db").unlink()
    return made


def damaged_copies(folder, seeds):
    """Read damaged copies of a sound file of each format; return format → what came of them, counted.

    Each must end in entries or words: anything else raises.
    """
    counts = {}
    for name, sound in sorted(sound_files(folder).items()):
        counts[name] = Counter()
        for seed in seeds:
            random = np.random.default_rng(seed)
            data = bytearray(sound)
            for _ in range(int(random.integers(1, 9))):
                at, kind = int(random.integers(len(data))), int(random.integers(5))
                if kind == 0:
                    data[at] = int(random.integers(256))
                elif kind == 1:
                    data[at] ^= 1 << int(random.integers(8))
                elif kind == 2:
                    del data[at : at + int(random.integers(1, 200))]
                elif kind == 3:
                    data[at:at] = data[: int(random.integers(1, 200))]
                else:
                    del data[at:]
                data = data or bytearray(b"0")
            try:
                for one in parse(folder, bytes(data), name):
                    counts[name][type(one).__name__] += 1
            except SettingsError:
                counts[name]["SettingsError"] += 1
    return counts
