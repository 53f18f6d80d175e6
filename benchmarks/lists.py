"""Lists: how fast and in how much memory large and hostile ones are read, and what other programs make of our exports.

`python -m benchmarks.lists` makes a VICS file of ten million media on one line and imports it, reads a JSON file of one
gigabyte on one line and a billion-laughs XML, and imports a million media into a store of ten million, each in a
process of its own whose peak memory is told. `--peers PYTHON` names an interpreter with `threatexchange` and `pdqhash`:
they read our vPDQ and PDQ exports, and we read theirs; with `vpdq` built there, its C++ part hashes the videos itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from videonovelty.known.listed import ListedItem

MEMORY_BAR_MB = 300
PIECE = 1000
PROGRAM = [sys.executable, "-c", "from videonovelty.cli import main; main()"]


def vics(count: int, begin: int = 0) -> Iterator[bytes]:
    """Yield a VICS 2.0 document of `count` media on one line, numbered from `begin`."""
    yield b'{"@odata.context":"http://github.com/VICSDATAMODEL/ProjectVic/DataModels/2.0.xml/US/$metadata#Media","value":['
    for first in range(begin, begin + count, PIECE):
        items = []
        for n in range(first, min(first + PIECE, begin + count)):
            raw = hashlib.sha256(n.to_bytes(8, "little")).hexdigest().upper()
            items.append(
                f'{{"MediaID":{n},"Category":{n % 5 + 1},"MD5":"{raw[:32]}","SHA1":"{raw[:40]}","MediaSize":"{n}",'
                f'"VictimIdentified":"False","OffenderIdentified":false,"IsDistributed":"True","Series":"S{n % 997}",'
                f'"IsPrecategorized":true,"Tags":"a,b","MediaFiles":[{{"FileName":"{n}.mp4","FilePath":"x"}}]}}'
            )
        yield (("," if first > begin else "") + ",".join(items)).encode()
    yield b"]}"


def one_value(size: int) -> Iterator[bytes]:
    """Yield a JSON document of one line: a string of `size` bytes beside two media."""
    yield b'{"@odata.context":"x#Media","Junk":"'
    for _ in range(size >> 20):
        yield b"x" * (1 << 20)
    yield b'","value":[{"MD5":"' + b"A" * 32 + b'","Category":1},{"Big":"'
    for _ in range(64):
        yield b"y" * (1 << 20)
    yield b'"},{"MD5":"' + b"B" * 32 + b'","Category":1}]}'


def laughs() -> Iterator[bytes]:
    """Yield a billion laughs."""
    yield b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY l0 "lol">'
    for n in range(1, 10):
        yield f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">'.encode()
    yield b"]><queryResult>&l9;</queryResult>"


CASES: dict[str, tuple[str, Callable[[argparse.Namespace], Iterator[bytes]]]] = {
    "VICS, one line": ("vics.json", lambda told: vics(told.rows)),
    "JSON, one value of a gigabyte": ("value.json", lambda told: one_value(told.gigabyte)),
    "XML, a billion laughs": ("laughs.xml", lambda _: laughs()),
}


def measured(arguments: list[str]) -> tuple[int, str, float, float, float]:
    """Run a command; return its exit code, output, CPU seconds, wall seconds and peak memory in MB."""
    code = textwrap.dedent(
        """
        import json, resource, subprocess, sys, time
        began = time.monotonic()
        done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(json.dumps([done.returncode, done.stdout + done.stderr, used.ru_utime + used.ru_stime,
                          time.monotonic() - began, used.ru_maxrss / 1024]))
        """
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return tuple(json.loads(done.stdout))


def sizes(told: argparse.Namespace, folder: Path) -> list[dict[str, object]]:
    """Import each large or hostile file with the command; return rows of the table."""
    rows: list[dict[str, object]] = []
    for name, (file, make) in CASES.items():
        path = folder / file
        with path.open("wb") as out:
            for piece in make(told):
                out.write(piece)
        kind = "ncmec" if path.suffix == ".xml" else "vics"
        command = [*PROGRAM, "known", "import", str(path), "--format", kind]
        command += ["--store", str(folder / f"{path.stem}-store"), "--list", path.stem, "--json"]
        code, output, cpu, wall, peak = measured(command)
        found = json.loads(output[output.index("{") : output.rindex("}") + 1])
        entries = int(found["entries"])
        rows.append(
            {
                "case": name, "bytes": path.stat().st_size, "exit": code, "entries": entries, "bad": found["bad"],
                "cpu_seconds": round(cpu, 1), "wall_seconds": round(wall, 1), "peak_mb": round(peak),
                "rows_per_cpu_second": round(entries / cpu), "within": peak <= MEMORY_BAR_MB,
                "problems": found["problems"][:3],
            }
        )  # fmt: skip
        print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
        path.unlink()
    return rows


def full_store(path: Path, rows: int) -> None:
    """Make a store that holds the `rows` contents of `vics(rows)` on a list of their own, without importing them."""
    from videonovelty.known import manifest as manifests
    from videonovelty.known.shards import fixed_binary, write_shard
    from videonovelty.known.store import KnownStore
    from videonovelty.schemas import KNOWN_VIDEOS

    numbers = (hashlib.sha256(n.to_bytes(8, "little")).digest()[:20] for n in range(rows))
    sha1 = np.frombuffer(b"".join(numbers), np.uint8).reshape(-1, 20)
    ids = b"".join(hashlib.sha256(b"videonovelty sha1 " + raw.tobytes()).digest() for raw in sha1)
    video_ids = np.frombuffer(ids, np.uint8).reshape(-1, 32)
    order = np.argsort(video_ids.view("S32").ravel(), kind="stable")
    store = KnownStore.create(path)
    base = store.snapshot()
    files = []
    for chosen in np.array_split(order, -(-rows // (1 << 17))):
        columns = {name: pa.nulls(len(chosen), KNOWN_VIDEOS.field(name).type) for name in KNOWN_VIDEOS.names}
        for name, text in (("list", "there"), ("disposition", "abuse"), ("victim_identified", "unknown")):
            columns[name] = pa.repeat(pa.scalar(text), len(chosen))
        columns["offender_identified"] = columns["distributed"] = columns["victim_identified"]
        columns["video_id"], columns["sha1"] = fixed_binary(video_ids[chosen]), fixed_binary(sha1[chosen])
        columns["md5"] = fixed_binary(np.ascontiguousarray(sha1[chosen, :16]))
        columns["duration_seconds"] = pa.repeat(pa.scalar(0.0), len(chosen))
        columns["added_in_snapshot"] = pa.repeat(pa.scalar(1), len(chosen))
        made = write_shard(path, "videos", iter([pa.table(columns, schema=KNOWN_VIDEOS)]), scheme="", added=1)
        assert made is not None
        files.append(made)
    manifests.commit(
        path,
        dataclasses.replace(
            base.manifest, number=1, parent=0, parent_sha256=base.manifest_sha256, action="add", n_videos=rows,
            files=tuple(files),
        ),
    )  # fmt: skip


def into_full(told: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Import a VICS file into a store that holds many rows already, half of the file's contents among them."""
    store, path, half = folder / "full", folder / "more.json", told.more // 2
    full_store(store, told.into)
    with path.open("wb") as out:
        for piece in vics(told.more, told.into - half):
            out.write(piece)
    command = [*PROGRAM, "known", "import", str(path), "--store", str(store), "--list", "more", "--json"]
    code, output, cpu, _, peak = measured(command)
    found = json.loads(output[output.index("{") : output.rindex("}") + 1])
    added = found["changes"]["videos_added"], found["changes"]["memberships_added"]
    assert added == (told.more - half, told.more), found
    row = {
        "case": "VICS into a full store", "rows_there": told.into, "entries": found["entries"], "exit": code,
        "videos_added": added[0], "memberships_added": added[1], "cpu_seconds": round(cpu, 1), "peak_mb": round(peak),
        "rows_per_cpu_second": round(found["entries"] / cpu), "within": peak <= MEMORY_BAR_MB,
    }  # fmt: skip
    print(json.dumps(row), flush=True)
    return row


PEER = """
import json, sys, types, pathlib
if "vpdq" not in sys.modules:
    try:
        import vpdq
        built = True
    except ImportError:  # its C++ part hashes videos; matching needs none of it
        stub = types.ModuleType("vpdq")
        stub.VpdqFeature = object
        sys.modules["vpdq"] = stub
        built = False
import numpy, pdqhash
from threatexchange.extensions.vpdq.vpdq_util import json_to_vpdq, vpdq_to_json
from threatexchange.extensions.vpdq.vpdq_index import VPDQIndex
from threatexchange.extensions.vpdq.vpdq import VPDQSignal
from threatexchange.signal_type.pdq.signal import PdqSignal
folder = pathlib.Path(sys.argv[1])
said = {"vpdq_built": built}
files = sorted((folder / "known").glob("*.json"))
index = VPDQIndex.build([(path.read_text(), path.name.split(".")[0]) for path in files])
said["matches"] = {
    path.name.split(".")[0]: sorted(m.metadata for m in index.query(path.read_text()))
    for path in sorted((folder / "query").glob("*.json"))
}
pdq = [line.split(",")[0] for line in (folder / "pdq.txt").read_text().split()]
found = PdqSignal.get_index_cls().build([(code, n) for n, code in enumerate(pdq)])
said["pdq_lines"] = len(pdq)
said["pdq_found"] = sum(any(m.similarity_info.distance == 0 for m in found.query(code)) for code in pdq)
said["distance"] = [PdqSignal.compare_hash(pdq[0], code, 31).distance.distance for code in pdq[:50]]
pictures = numpy.load(folder / "pictures.npy")
codes = []
for picture in pictures:
    bits, quality = pdqhash.compute(numpy.repeat(picture[:, :, None], 3, axis=2))
    codes.append([numpy.packbits(numpy.array(bits, numpy.uint8)).tobytes().hex(), int(quality)])
said["pdqhash"] = codes
if built:  # the C++ program hashes the videos themselves
    for group in ("known", "query"):
        (folder / f"cpp-{group}").mkdir()
        for path in sorted((folder / f"{group}-videos").iterdir()):
            found = vpdq.computeHash(str(path), seconds_per_hash=0)
            lines = [f"{f.frame_number},{f.quality},{f.hex},{f.timestamp:.3f}" for f in found]
            (folder / f"cpp-{group}" / f"{path.stem}.txt").write_text("\\n".join(lines) + "\\n")
    said["cpp_matches"] = {
        path.stem: sorted(m.metadata for m in index.query(VPDQSignal.hash_from_file(path)))
        for path in sorted((folder / "query-videos").iterdir())
    }
(folder / "theirs.json").write_text(vpdq_to_json(json_to_vpdq(files[0].read_text())))
print(json.dumps(said))
"""


def peers(told: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Have code that is not ours read our exports, and read its output; return what was found."""
    from videonovelty.decode.writer import write_video
    from videonovelty.known.formats import FORMATS
    from videonovelty.known.formats.reading import ReadOptions
    from videonovelty.signatures.pdq import pdq

    rng = np.random.default_rng(5)
    for name in ("known", "query"):
        (folder / f"{name}-videos").mkdir()
    for n in range(4):
        shots = [np.kron(rng.integers(0, 256, (18, 32), np.uint8), np.ones((10, 10), np.uint8)) for _ in range(6)]
        frames = [np.repeat(np.roll(shot, 3 * i, 1)[:, :, None], 3, 2) for shot in shots for i in range(20)]
        write_video(folder / "known-videos" / f"{n}.mp4", iter(frames), fps=10, gop=10, codec="libx264")
        if n < 3:
            write_video(folder / "query-videos" / f"{n}.mkv", iter(frames), fps=10, gop=10, codec="mpeg4")
    run = [*PROGRAM, "known"]
    for name in ("known", "query"):
        store = str(folder / f"{name}-store")
        subprocess.run([*run, "add", str(folder / f"{name}-videos"), "--store", store, "--list", name], check=True,
                       capture_output=True)  # fmt: skip
        subprocess.run([*run, "export", "--store", store, "--format", "vpdq-json", "--out", str(folder / name)],
                       check=True, capture_output=True)  # fmt: skip
    subprocess.run([*run, "export", "--store", str(folder / "known-store"), "--format", "pdq", "--out",
                    str(folder / "pdq.txt")], check=True, capture_output=True)  # fmt: skip
    pictures = np.stack([np.kron(rng.integers(0, 256, (8, 8), np.uint8), np.ones((8, 8), np.uint8)) for _ in range(40)])
    np.save(folder / "pictures.npy", pictures)
    done = subprocess.run([told.peers, "-c", PEER, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"skipped": f"{told.peers} cannot run threatexchange and pdqhash: {done.stderr.strip()[-300:]}"}
    said = json.loads(done.stdout)
    ours, _ = pdq(pictures)
    theirs = np.array([np.frombuffer(bytes.fromhex(code), np.uint8) for code, _ in said["pdqhash"]])
    apart = np.bitwise_count(ours[:, 0] ^ theirs).sum(axis=1)
    path = folder / "theirs.json"
    with path.open("rb") as file:
        back = list(FORMATS["vpdq-json"].read(path, file, ReadOptions(), 0))
    first = sorted((folder / "known").glob("*.json"))[0]
    known = {path.stem: _sha256(path) for path in (folder / "known-videos").iterdir()}
    expected = {_sha256(path): [known[path.stem]] for path in (folder / "query-videos").iterdir()}
    cpp = _cpp(folder, said["cpp_matches"], known) if said["vpdq_built"] else {}
    return {
        "vpdq_built": said["vpdq_built"],
        **cpp,
        "queries_matched": sum(found == expected[name] for name, found in said["matches"].items()),
        "queries": len(said["matches"]),
        "pdq_found": f"{said['pdq_found']} of {said['pdq_lines']}",
        "pdqhash_bits_apart_mean": float(apart.mean()),
        "pdqhash_bits_apart_most": int(apart.max()),
        "theirs_read": [type(one).__name__ for one in back],
        "theirs_same_frames": sorted({row.tobytes().hex() for row in _frames(back)})
        == sorted({text.split(",")[0] for text in json.loads(first.read_text())}),
    }


def _cpp(folder: Path, matches: dict[str, list[str]], known: dict[str, str]) -> dict[str, object]:
    """Exchange with vPDQ's C++ program: its hashes against our export, and a scan that knows only its text."""
    store, run = folder / "cpp-store", folder / "cpp-run"
    options = ["--store", str(store), "--list", "cpp", "--json"]
    subprocess.run([*PROGRAM, "known", "import", str(folder / "cpp-known"), *options], check=True, capture_output=True)
    scan = [*PROGRAM, "scan", str(folder / "query-videos"), "--store", str(store), "--run", str(run), "--workers", "0"]
    subprocess.run(scan, check=True, capture_output=True)
    rows = json.loads((run / "verdicts.json").read_text())
    return {
        "cpp_hashes_matched_to_our_export": sum(matches[name] == [known[name]] for name in matches),
        "videos_found_by_cpp_text_alone": sum(
            (row["verdict"], row["reason"], row["best_known_list"]) == ("same_scene", "listed_frames", "cpp")
            for row in rows
        ),
    }


def _frames(entries: Iterable[object]) -> Iterator[npt.NDArray[np.uint8]]:
    for one in entries:
        if isinstance(one, ListedItem) and one.frames is not None:
            yield from one.frames.pdq


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Run what was asked for and write `benchmarks/results/lists.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--gigabyte", type=int, default=1 << 30)
    parser.add_argument("--peers", help="a Python with threatexchange and pdqhash; without it that part is left out")
    parser.add_argument("--into", type=int, default=10_000_000, help="rows of the store that is imported into")
    parser.add_argument("--more", type=int, default=1_000_000, help="rows imported into it")
    parser.add_argument("--only", choices=("sizes", "into", "peers"), help="one part alone")
    told = parser.parse_args()
    results: dict[str, object] = {"made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    folder = Path(tempfile.mkdtemp(prefix="lists-"))
    try:
        if told.only in (None, "sizes"):
            results["sizes"] = sizes(told, folder)
        if told.only in (None, "into"):
            results["into"] = into_full(told, folder)
        if told.only in (None, "peers"):
            results["peers"] = peers(told, folder) if told.peers else {"skipped": "--peers names no interpreter"}
            print(json.dumps(results["peers"]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    out = Path(__file__).parent / "results"
    out.mkdir(exist_ok=True)
    (out / "lists.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
