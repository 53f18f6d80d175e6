"""Every list format: what is written is read back, odd files end in clear words, and nothing eats the memory."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make_lists import NCMEC_PAGE, damaged_copies, ncmec_page, parse, vics_media

from videonovelty.errors import SettingsError
from videonovelty.known.formats import FORMATS, detect, json_stream, pdq, vics
from videonovelty.known.formats.json_stream import JsonError, JsonStream
from videonovelty.known.formats.reading import RangeEnd, ReadOptions
from videonovelty.known.listed import THREE_DIGITS, TIMED, BadRow, LeftOut, ListedItem, Withdrawal
from videonovelty.records import KnownFrames
from videonovelty.settings import ListSettings

MD5, SHA1, SHA256 = (hashlib.new(kind, b"x").hexdigest() for kind in ("md5", "sha1", "sha256"))
PDQ = "e42926b9" * 8


def items(found):
    return [one for one in found if isinstance(one, ListedItem)]


# ---- digests ----


def test_plain_lists_and_the_output_of_checksum_tools_are_read(tmp_path):
    text = f"# comment\n{MD5.upper()}\n\n{SHA1}  some file.mp4\n{SHA256} *other.mp4\nSHA256 (third) = {SHA256}\n"
    found = parse(tmp_path, text, "auto")
    assert [(i.md5, i.sha1, i.sha256) for i in found] == [
        (MD5, "", ""), ("", SHA1, ""), ("", "", SHA256), ("", "", SHA256)]  # fmt: skip


def test_a_bad_line_is_told_by_its_byte_and_the_next_one_is_read(tmp_path):
    found = parse(tmp_path, f"{MD5}\nnonsense\n{'f' * 70_000}\n{SHA1}\n", "digests")
    assert [type(one) for one in found] == [ListedItem, BadRow, BadRow, ListedItem]
    assert found[1].where == "byte 33"
    assert "nonsense" in found[1].problem
    assert "longer than" in found[2].problem


def test_the_digest_of_an_empty_file_is_nobodys_video(tmp_path):
    assert [type(one) for one in parse(tmp_path, hashlib.md5(b"").hexdigest() + "\n", "digests")] == [LeftOut]


def test_hashdeep_columns_follow_its_header(tmp_path):
    text = f"%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n## a comment\n7,{MD5},{SHA256},/a,b/c.mp4\nbroken\n"
    found = parse(tmp_path, text, "auto")
    assert (found[0].md5, found[0].sha256) == (MD5, SHA256)
    assert isinstance(found[1], BadRow)


# ---- tables ----


def test_csv_columns_are_found_by_name_and_by_what_the_import_says(tmp_path):
    text = f'"Hash","SHA-1",Series Name,victim identified,Tags\r\n{MD5},{SHA1},"Blue, room",No,"a;b"\r\n'
    (item,) = parse(tmp_path, text, "csv", columns={"md5": "hash"})
    assert (item.md5, item.sha1, item.series, item.victim_identified, item.tags) == (
        MD5, SHA1, "Blue, room", "no", ("a", "b"))  # fmt: skip


def test_csv_without_a_digest_column_says_what_to_do(tmp_path):
    with pytest.raises(SettingsError, match="--column md5=NAME"):
        parse(tmp_path, "name,size\na,1\n", "csv")
    with pytest.raises(SettingsError, match="the file has name, size"):
        parse(tmp_path, "name,size\na,1\n", "csv", columns={"md5": "hash"})


def test_icse_export_is_recognised(tmp_path):
    head = "MD5;SHA1;PhotoDNA;Image ID;Is distributed;Victim identified;Offender identified;Series name;"
    text = (
        f"{head}Number of submissions;File Available;Media Type;Baseline\n{MD5};{SHA1};x;42;1;0;1;Red;3;1;Video;Yes\n"
    )
    (item,) = parse(tmp_path, text, "auto")
    assert (item.entry, item.distributed, item.victim_identified, item.offender_identified) == (
        "42",
        "yes",
        "no",
        "yes",
    )
    assert (item.series, item.category) == ("Red", "international baseline")
    assert detect(tmp_path / "list").name == "icse"


def test_nsrl_version_2_and_3_are_recognised(tmp_path):
    head = '"SHA-1","MD5","CRC32","FileName","FileSize","ProductCode","OpSystemCode","SpecialCode"'
    (item,) = parse(tmp_path, f'{head}\n"{SHA1.upper()}","{MD5.upper()}","0","a, b.exe",1,2,"3",""\n', "auto")
    assert (item.sha1, item.md5) == (SHA1, MD5)
    base = sqlite3.connect(tmp_path / "rds.db")
    base.execute("CREATE TABLE METADATA (sha256 TEXT, sha1 TEXT, md5 TEXT)")
    base.executemany("INSERT INTO METADATA VALUES (?, ?, ?)", [(SHA256, SHA1, MD5), ("odd", None, None)])
    base.execute("CREATE VIEW FILE AS SELECT * FROM METADATA")
    base.commit()
    base.close()
    assert detect(tmp_path / "rds.db").name == "nsrl3"
    found = parse(tmp_path, (tmp_path / "rds.db").read_bytes(), "auto")
    assert (found[0].sha256, found[0].sha1, found[0].md5) == (SHA256, SHA1, MD5)
    assert found[1].where == "row 2"


def test_a_database_whose_view_calls_functions_is_refused_not_run(tmp_path):
    base = sqlite3.connect(tmp_path / "evil.db")
    base.execute("CREATE VIEW FILE AS SELECT hex(randomblob(16)) AS md5, load_extension('x') AS sha1")
    base.commit()
    base.close()
    (bad,) = parse(tmp_path, (tmp_path / "evil.db").read_bytes(), "nsrl3")
    assert bad.ends_file


# ---- vics ----


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("version", ["1.3", "2.0"])
def test_vics_of_both_versions_is_read(tmp_path, bom, version):
    media = [vics_media(1, VictimIdentified="True", IsDistributed=False, Tags="a, b", Category="1"), vics_media(2)]
    key, context = (
        ("odata.metadata", "http://github.com/ICMEC/ProjectVic/DataModels/1.3.xml#Media")
        if version == "1.3"
        else ("@odata.context", "http://github.com/VICSDATAMODEL/ProjectVic/DataModels/2.0.xml/UK/$metadata#Media")
    )
    found = parse(tmp_path, bom + json.dumps({key: context, "value": media}).encode(), "auto")
    assert [i.md5 for i in found] == [m["MD5"].lower() for m in media]
    assert (found[0].victim_identified, found[0].distributed, found[0].tags) == ("yes", "no", ("a", "b"))
    assert found[0].category == ("UK 1 category A" if version == "2.0" else "US 1 child abuse material")
    assert found[0].disposition == "abuse"


def test_media_inside_cases_is_read(tmp_path):
    case = {"CaseID": "1", "Contact": {"x": [1, {"Media": 2}]}, "Media": [vics_media(1), 5, vics_media(2)]}
    context = {"odata.metadata": "http://github.com/ICMEC/ProjectVic/DataModels/1.3.xml#Cases"}
    for head in (context, {}):
        found = parse(tmp_path, json.dumps({**head, "value": [case]}), "vics")
        assert [type(one) for one in found] == [ListedItem, BadRow, ListedItem]


def test_what_nobody_has_judged_is_left_out_of_the_known(tmp_path):
    media = [
        vics_media(1, Category=0),
        vics_media(2, Category=None),
        vics_media(3, Category=77),
        vics_media(4, IsSuspected="True"),
    ]
    found = parse(tmp_path, json.dumps({"value": media}), "vics")
    assert {type(one) for one in found} == {LeftOut}


def test_a_broken_media_item_is_told_and_the_next_one_is_read(tmp_path):
    good = json.dumps(vics_media(1))
    text = '{"value":[' + good + ',{"MD5": nonsense, "x": [1, "]}"]},' + good + ',{"MD5":"zz","Category":1}]}'
    found = parse(tmp_path, text, "vics")
    assert [type(one) for one in found] == [ListedItem, BadRow, ListedItem, BadRow]
    assert found[1].where == f"byte {len(good) + 11:,}"


def test_a_truncated_file_gives_its_entries_and_says_that_its_end_is_missing(tmp_path):
    text = json.dumps({"value": [vics_media(n) for n in range(9)]})
    found = parse(tmp_path, text[:-100], "vics")
    assert len(items(found)) >= 7
    assert found[-1].ends_file


def test_reading_goes_on_at_any_entry(tmp_path):
    media = [vics_media(n, Series="é" * n) for n in range(20)]
    text = json.dumps({"odata.metadata": "x#Media", "value": media}, ensure_ascii=False)
    whole = parse(tmp_path, text, "vics")
    for place in (1, 7, 19):
        assert parse(tmp_path, text, "vics", start=whole[place].at) == whole[place:]


def test_vics_written_is_vics_read(tmp_path):
    media = [vics_media(n) for n in range(5)]
    text = b"".join(vics.document(iter(media), country="UK"))
    assert [i.md5 for i in parse(tmp_path, text, "auto")] == [m["MD5"].lower() for m in media]


# ---- ncmec ----


def test_ncmec_entries_and_tombstones_are_read(tmp_path):
    found = parse(tmp_path, NCMEC_PAGE, "auto")
    image, video, gone, downvoted, end = found
    assert (video.member, video.entry, video.category, video.md5, video.sha1) == ("42", "video1", "A1", MD5, SHA1)
    assert video.time == "2026-10-24T15:00:00Z"
    assert image.frames is not None
    assert gone == Withdrawal(gone.at, "video4", "42", "2026-10-24T15:05:00Z")
    assert isinstance(downvoted, Withdrawal)
    assert (end.exhausted, end.until) == (False, "2026-10-24T15:10:00Z")


def test_a_page_without_a_next_one_exhausts_its_range(tmp_path):
    found = parse(tmp_path, ncmec_page("", more=False), "ncmec")
    assert found[-1].exhausted


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;">]>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
    ],
)
def test_documents_with_entities_are_refused(tmp_path, head):
    (bad,) = parse(tmp_path, f'<?xml version="1.0"?>{head}<queryResult>&b;</queryResult>', "ncmec")
    assert bad.ends_file
    assert "entities" in bad.problem


@pytest.mark.parametrize("inside", ["<a>" * 3000, "<!--" + "x" * 3_000_000, "<a b='" + "x" * 3_000_000])
def test_deep_and_endless_xml_ends_in_words(tmp_path, inside):
    found = parse(tmp_path, f"<queryResult>{inside}", "ncmec")
    assert found[-1].ends_file


@pytest.mark.parametrize("encoding", ["UUF-8", "shift_jis", "utf-32"])
def test_an_encoding_the_parser_does_not_know_ends_in_words(tmp_path, encoding):
    (bad,) = parse(tmp_path, f'<?xml version="1.0" encoding="{encoding}"?><queryResult></queryResult>', "ncmec")
    assert bad.ends_file


# ---- frames ----


def frames(n=4, *, step=1.237):
    rng = np.random.default_rng(3)
    code = rng.integers(0, 256, (n, 32), dtype=np.uint8)
    times = np.round(np.arange(n) * step + 1000, 3)
    return KnownFrames("00" * 32, times, code, code, np.full(n, 77, np.uint8), np.ones(n, np.bool_))


def test_vpdq_text_keeps_every_millisecond(tmp_path):
    ours = frames()
    (item,) = parse(tmp_path, b"".join(pdq.text_lines(ours)), "auto")
    assert item.frames.scheme == TIMED
    assert (item.frames.t_ms / 1000 == ours.pts_seconds).all()
    assert (item.frames.pdq == ours.pdq).all()
    assert (item.frames.quality == 77).all()


def test_vpdq_json_is_read_with_times_that_are_coarse(tmp_path):
    (item,) = parse(tmp_path, f'["{PDQ},100,0.0","{PDQ},50,3.72e+03", "{PDQ},50,123"]', "auto")
    assert item.frames.scheme == THREE_DIGITS
    assert item.frames.t_ms.tolist() == [0, 123_000, 3_720_000]
    (old,) = parse(tmp_path, json.dumps({"0": {"hash": PDQ, "quality": 90, "timestamp": 1.5}}), "auto")
    assert old.frames.t_ms.tolist() == [1500]


def test_bad_frames_are_told_and_left_out(tmp_path):
    found = parse(
        tmp_path,
        f"0,100,{PDQ},0.0\n1,101,{PDQ},1.0\n2,50,zz,2.0\n3,50,{PDQ},-1\n4,50,{PDQ},nan\n5,50,{PDQ},9e9\n",
        "vpdq",
    )
    assert [type(one) for one in found] == [BadRow] * 5 + [ListedItem]
    assert found[-1].frames.t_ms.tolist() == [0]


def test_pdq_lists_have_a_quality_or_none(tmp_path):
    found = parse(tmp_path, f"{PDQ},31\n{PDQ}\n{PDQ},500\n", "auto")
    assert [int(i.frames.quality[0]) for i in items(found)] == [31, 100]
    assert isinstance(found[-1], BadRow)
    assert [bool(i.frames.informative(50)[0]) for i in items(found)] == [False, True]


# ---- streams ----

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(JSON, max_size=6), st.integers(1, 40), st.booleans(), st.sampled_from([None, 0, 2]))
def test_a_streamed_array_holds_what_the_whole_document_does(monkeypatch, values, chunk, ascii_only, indent):
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    data = json.dumps(values, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    expected = json.loads(data.decode("utf-8", "replace"))
    stream = JsonStream(io.BytesIO(data))
    places, found = [], []
    for at in stream.elements():
        places.append(at)
        found.append(stream.value())
    assert found == expected
    skipping = JsonStream(io.BytesIO(data))
    for number, at in enumerate(skipping.elements()):
        assert at == places[number]
        skipping.skip()
    if places:
        resumed = JsonStream(io.BytesIO(data), places[-1])
        assert [resumed.value() for _ in resumed.elements(inside=True)] == expected[-1:]


def test_values_too_large_are_never_built():
    text = b'{"a": "' + b"x" * 5_000_000 + b'", "b": ' + b"[" * 100_000 + b"]" * 100_000 + b', "c": 7}'
    stream = JsonStream(io.BytesIO(text))
    for key in stream.fields():
        if key == "c":
            assert stream.value() == 7
            continue
        with pytest.raises(JsonError, match=r"longer than|too deep"):
            stream.value()
        stream.skip()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(FORMATS)), st.binary(max_size=400))
def test_any_bytes_end_in_entries_or_words(tmp_path, name, data):
    try:
        for one in parse(tmp_path, data, name):
            assert isinstance(one, ListedItem | Withdrawal | BadRow | LeftOut | RangeEnd)
    except SettingsError:
        pass


def test_damaged_copies_of_sound_files_end_in_entries_or_words(tmp_path):
    counts = damaged_copies(tmp_path, range(30))
    assert set(counts) == set(FORMATS)


def test_a_country_the_settings_do_not_have_is_named(tmp_path):
    options = ReadOptions(ListSettings(country="FR"))
    with pytest.raises(SettingsError, match="US, UK"):
        list(vics.read(Path("x"), io.BytesIO(b'{"value":[]}'), options, 0))


def test_numbers_of_a_country_the_settings_do_not_know_are_not_read_as_another_s(tmp_path):
    context = "http://github.com/VICSDATAMODEL/ProjectVic/DataModels/2.0.xml/CUSTOM/$metadata#Media"
    text = json.dumps({"@odata.context": context, "value": [vics_media(1, Category=5)]})
    with pytest.raises(SettingsError, match="those of: CUSTOM"):
        parse(tmp_path, text, "vics")
    (item,) = parse(tmp_path, text, "vics", settings=ListSettings(country="US"))
    assert (item.disposition, item.category) == ("benign", "US 5 not pertinent")
    uk = text.replace("CUSTOM", "UK")
    assert [type(one) for one in parse(tmp_path, uk, "vics")] == [LeftOut]
