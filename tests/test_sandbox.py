"""The answer on the wire, and the list of system calls, without starting a process. Processes: `tests/faults`."""

import errno
import hashlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videonovelty.errors import LimitExceededError, NoVideoStreamError, Reason, VideoError
from videonovelty.records import (
    Coverage,
    LocalFeatures,
    MotionProfile,
    Panes,
    Probe,
    Signatures,
    SignedVideo,
)
from videonovelty.sandbox import WireError, decode_signed, encode_signed, lockdown
from videonovelty.sandbox.parent import HEARTBEATS_FREE, _Answer
from videonovelty.sandbox.wire import ARRAYS, PREFIX, WIRE_VERSION, decode_error, encode_error
from videonovelty.sandbox.zygote import ERROR, FRAME, HEARTBEAT, SIGNED

VIDEO = "ab" * 32


def signed_video(keyframes=3, descriptors=5, ticks=20, gaps=1, panes=4, *, mirrored=True, seed=0, notes=("a note",)):
    """Return a well-formed record of the given sizes."""
    random = np.random.default_rng(seed)

    def codes(*shape):
        return random.integers(0, 256, shape, np.uint8)

    starts = np.arange(keyframes) * 1.5
    offsets = np.sort(random.integers(0, descriptors + 1, keyframes + 1))
    offsets[0], offsets[-1] = 0, descriptors if keyframes else 0
    if not keyframes:
        descriptors = panes = 0
    return SignedVideo(
        Probe("matroska,webm", "vp9", 640, 360, 29.97, 12.5, 90, "yuv420p", 2),
        Coverage(
            declared_seconds=12.5,
            duration_seconds=12.5,
            decoded_seconds=11.0,
            frames=300,
            packet_errors=2,
            corrupt_frames=1,
            undecoded=np.arange(2 * gaps, dtype=np.float64).reshape(gaps, 2),
            longest_unseen_seconds=1.0,
            passes=("nonref", "all"),
            notes=notes,
        ),
        Signatures(
            video_id=VIDEO,
            scheme="scheme-1",
            pts_seconds=starts + 0.25,
            start_seconds=starts,
            end_seconds=starts + 1.5,
            pdq=codes(keyframes, 8, 32),
            pdq_inner=codes(keyframes, 8, 32),
            has_inner=codes(keyframes) > 127,
            quality=random.integers(0, 101, keyframes).astype(np.uint8),
            informative=codes(keyframes) > 127,
            motion=MotionProfile(
                0.1,
                random.integers(-1, 2, (ticks, 16)).astype(np.int8),
                random.integers(-4, 5, (ticks, 64)).astype(np.int8),
                pictures=random.integers(0, 1021, (ticks, 576)).astype(np.uint16) if ticks and seed % 2 else None,
                light=random.integers(0, 65536, (ticks, 2)).astype(np.uint16) if ticks and seed % 2 else None,
                levels=random.integers(-508, 509, (ticks, 64)).astype(np.int16) if ticks and seed % 2 else None,
                lagged=random.integers(-1, 2, (ticks, 5, 16)).astype(np.int8) if ticks and seed % 2 else None,
                borders=random.integers(0, 256, (ticks, 6)).astype(np.uint8) if ticks and seed % 2 else None,
            ),
            local=LocalFeatures(
                offsets=offsets.astype(np.int64),
                codes=codes(descriptors, 8),
                mirrored_codes=codes(descriptors if mirrored else 0, 8),
                xy=random.integers(0, 65536, (descriptors, 2)).astype(np.uint16),
                scale=codes(descriptors),
                angle=codes(descriptors),
            ),
            panes=Panes(
                np.sort(random.integers(0, max(1, keyframes), panes)),
                np.tile(random.integers(0, 30_000, (panes, 2)).astype(np.uint16), 2)
                + np.array([0, 0, 9, 30_000], np.uint16),
                codes(panes, 8, 32),
            ),
        ),
        cpu_seconds=1.25,
    )


def arrays_of(signed):
    """Return every array of the record by name."""
    parts = (signed.coverage, signed.signatures, signed.signatures.motion, signed.signatures.local)
    names = [array.name for array in ARRAYS]
    found = {name: getattr(part, name) for name in names for part in parts if hasattr(part, name)}
    found |= {f"pane_{name}": getattr(signed.signatures.panes, name) for name in ("keyframe", "box", "pdq")}
    return {name: value for name, value in found.items() if value is not None}  # `pictures`, … may be absent


def with_header(payload, change):
    """Return `payload` with its header changed, everything else in place."""
    magic, version, reserved, length = PREFIX.unpack_from(payload)
    end = PREFIX.size + length
    header = json.loads(payload[PREFIX.size : end])
    change(header)
    raw = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    body = payload[end + (-end % 8) :]
    start = PREFIX.pack(magic, version, reserved, len(raw)) + raw
    return start + bytes(-len(start) % 8) + body


# --- signed videos ----------------------------------------------------------------------------------------------------


@given(
    keyframes=st.integers(0, 6),
    descriptors=st.integers(0, 9),
    ticks=st.integers(0, 30),
    gaps=st.integers(0, 3),
    panes=st.integers(0, 5),
    mirrored=st.booleans(),
    seed=st.integers(0, 1000),
    notes=st.lists(st.text(max_size=300), max_size=3).map(tuple),
)
@settings(max_examples=50, deadline=None)
def test_a_signed_video_comes_back_equal(**sizes):
    signed = signed_video(**sizes)
    payload = encode_signed(signed)
    back = decode_signed(payload, video_id=VIDEO, scheme="scheme-1")
    for name, value in arrays_of(signed).items():
        returned = arrays_of(back)[name]
        assert returned.dtype == value.dtype, name
        assert returned.flags.writeable
        np.testing.assert_array_equal(returned, value, err_msg=name)
    assert back.probe == signed.probe
    assert (back.signatures.video_id, back.signatures.scheme) == (VIDEO, "scheme-1")
    assert (back.coverage.frames, back.coverage.passes) == (300, ("nonref", "all"))
    assert (back.signatures.motion.step_seconds, back.cpu_seconds) == (0.1, 1.25)
    assert encode_signed(back) == payload


def test_equal_records_give_equal_bytes():
    assert encode_signed(signed_video()) == encode_signed(signed_video())


def test_the_stored_form_stays_what_it_was():

    # A change here needs a new WIRE_VERSION: run folders hold this form.
    plain = signed_video(keyframes=2, descriptors=0, ticks=2, gaps=0, panes=0)
    zero = arrays_of(plain)
    for value in zero.values():
        value[...] = 0
    plain.signatures.pts_seconds[:] = [0, 1]
    plain.signatures.start_seconds[:] = [0, 1]
    plain.signatures.end_seconds[:] = [1, 2]
    payload = encode_signed(plain)
    assert payload[:4] == b"VNSV"
    assert len(payload) == 2008
    assert hashlib.sha256(payload).hexdigest()[:16] == "230d3a6c5b1dc0e5"


def test_hidden_characters_of_a_container_are_escaped_before_they_travel():
    signed = signed_video(notes=("tag\x1b[31m\u202e", "x" * 1000))
    notes = decode_signed(encode_signed(signed), video_id=VIDEO).coverage.notes
    assert notes == (r"tag\x1b[31m\u202e", "x" * 255 + "…")


@pytest.mark.parametrize("claim", [float("nan"), float("inf"), -5.0, 1e300])
def test_a_duration_that_cannot_be_meant_travels_as_unknown(claim):
    import dataclasses

    signed = signed_video()
    signed = dataclasses.replace(signed, probe=dataclasses.replace(signed.probe, declared_seconds=claim))
    assert decode_signed(encode_signed(signed), video_id=VIDEO).probe.declared_seconds == 0.0


@given(st.integers(0, 2**32), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_a_changed_byte_is_refused_or_gives_a_sound_record(position, value):
    payload = bytearray(encode_signed(signed_video()))
    payload[position % len(payload)] = value
    try:
        back = decode_signed(bytes(payload), video_id=VIDEO)
    except WireError:
        return
    assert encode_signed(back) == bytes(payload)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_the_one_error(data):
    for payload in (data, PREFIX.pack(b"VNSV", 1, 0, len(data)) + data, PREFIX.pack(b"VNSV", 1, 0, 1 << 31) + data):
        with pytest.raises(WireError):
            decode_signed(payload, video_id=VIDEO)


def test_every_shorter_payload_is_refused():
    payload = encode_signed(signed_video())
    for length in range(0, len(payload), 7):
        with pytest.raises(WireError):
            decode_signed(payload[:length], video_id=VIDEO)
    with pytest.raises(WireError):
        decode_signed(payload + b"\0", video_id=VIDEO)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("counts.keyframes", 2),
        ("counts.keyframes", -1),
        ("counts.keyframes", True),
        ("counts.keyframes", 3.0),
        ("counts.keyframes", 1 << 62),
        ("counts.ticks", 0),
        ("counts.mirrored", 4),
        ("counts.panes", 3),
        ("counts.extra", 1),
        ("extra", {}),
        ("probe", []),
        ("probe.width", -1),
        ("probe.width", "64"),
        ("probe.codec", "a\x1bb"),
        ("probe.codec", "x" * 300),
        ("probe.codec", None),
        ("probe.extra", 1),
        ("probe.declared_seconds", 1e300),
        ("probe.declared_seconds", -1.0),
        ("coverage.frames", 1.5),
        ("coverage.notes", "text"),
        ("coverage.notes", [1]),
        ("coverage.notes", ["x"] * 100),
        ("coverage.left_out", [1]),
        ("signatures.video_id", "cd" * 32),
        ("signatures.scheme", "scheme-2"),
        ("signatures.step_seconds", 0.0),
        ("cpu_seconds", "1"),
    ],
)
def test_a_header_that_lies_is_refused(where, value):
    def change(header):
        *path, last = where.split(".")
        for key in path:
            header = header[key]
        header[last] = value

    payload = with_header(encode_signed(signed_video()), change)
    with pytest.raises(WireError):
        decode_signed(payload, video_id=VIDEO, scheme="scheme-1")


@pytest.mark.parametrize(
    "spelling",
    [
        lambda raw: raw.replace(b'"frames":300', b'"frames":NaN'),
        lambda raw: raw.replace(b'"frames":300', b'"frames":300,"frames":300'),
        lambda raw: raw.replace(b'"frames":300', b'"frames": 300'),
        lambda raw: raw.replace(b'"cpu_seconds":1.25', b'"cpu_seconds":1.250'),
        lambda raw: raw.replace(b'"cpu_seconds":1.25', b'"cpu_seconds":Infinity'),
        lambda raw: b"[" * 100_000,
        lambda raw: b"1" * 10_000,
        lambda raw: b"null",
        lambda raw: b"\xff",
    ],
)
def test_only_one_spelling_of_a_header_is_read(spelling):
    payload = encode_signed(signed_video())
    *_, length = PREFIX.unpack_from(payload)
    raw = spelling(payload[PREFIX.size : PREFIX.size + length])
    with pytest.raises(WireError):
        decode_signed(PREFIX.pack(b"VNSV", 1, 0, len(raw)) + raw + payload[PREFIX.size + length :], video_id=VIDEO)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pts_seconds", np.nan),
        ("pts_seconds", np.inf),
        ("end_seconds", -1e300),
        ("start_seconds", 100.0),
        ("undecoded", np.nan),
        ("quality", 101),
        ("signs", 2),
        ("signs", -2),
        ("offsets", -1),
        ("offsets", 1),
        ("pane_keyframe", 3),
        ("pane_keyframe", -1),
        ("pane_box", 65535),
    ],
)
def test_values_out_of_range_are_refused(name, value):
    signed = signed_video()
    arrays_of(signed)[name].flat[0] = value
    with pytest.raises(WireError):
        decode_signed(encode_signed(signed), video_id=VIDEO)


def test_booleans_other_than_zero_and_one_are_refused():
    signed = signed_video()
    payload = encode_signed(signed)
    at = payload.index(signed.signatures.quality.tobytes()) - 8  # has_inner stands before, padded to 8
    assert payload[at : at + 3] == signed.signatures.has_inner.tobytes()
    with pytest.raises(WireError, match="has_inner"):
        decode_signed(payload[:at] + b"\x02" + payload[at + 1 :], video_id=VIDEO)


def test_another_version_says_so():
    payload = bytearray(encode_signed(signed_video()))
    payload[4] = WIRE_VERSION + 1
    with pytest.raises(WireError, match=f"version {WIRE_VERSION + 1}"):
        decode_signed(bytes(payload), video_id=VIDEO)


# --- errors -----------------------------------------------------------------------------------------------------------


def test_an_error_arrives_as_its_own_class_with_safe_text():
    error = decode_error(encode_error(Reason.NO_VIDEO_STREAM, "sound\x1b[31m"), name="clip")
    assert isinstance(error, NoVideoStreamError)
    assert (error.path, error.detail) == ("clip", r"sound\x1b[31m")
    assert isinstance(decode_error(encode_error(Reason.MEMORY_LIMIT, ""), name=""), LimitExceededError)
    assert type(decode_error(encode_error(Reason.CRASHED, ""), name="")) is VideoError


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[]",
        b'{"detail":"","reason":"same_bytes"}',
        b'{"detail":"","reason":"proven_by_time"}',
        b'{"detail":"","reason":"unheard_of"}',
        b'{"detail":"\\u001b","reason":"corrupt"}',
        b'{"detail":1,"reason":"corrupt"}',
        b'{"detail":"","extra":"","reason":"corrupt"}',
        b'{"detail":"","reason":["corrupt"]}',
    ],
)
def test_an_error_report_that_lies_is_refused(payload):
    with pytest.raises(WireError):
        decode_error(payload, name="clip")


# --- frames -----------------------------------------------------------------------------------------------------------


def frame(tag, payload):
    return FRAME.pack(tag, len(payload)) + payload


@given(st.lists(st.integers(1, 9), max_size=20))
def test_frames_are_read_however_they_are_cut(cuts):
    data = frame(HEARTBEAT, struct.pack("<d", 2.5)) + frame(HEARTBEAT, struct.pack("<d", 1.5)) + frame(SIGNED, b"yes")
    answer = _Answer(100)
    for cut in cuts:
        answer.feed(data[:cut])
        data = data[cut:]
    answer.feed(data)
    answer.feed(b"")
    assert (answer.tag, answer.payload, answer.seconds) == (SIGNED, b"yes", 2.5)


@pytest.mark.parametrize(
    "data",
    [
        frame(b"X", b""),
        frame(SIGNED, b"x" * 101),
        FRAME.pack(ERROR, 1 << 62),
        frame(HEARTBEAT, b"1234"),
        frame(HEARTBEAT, struct.pack("<d", float("nan"))),
        frame(SIGNED, b"x") + b"y",
        frame(SIGNED, b"x") + frame(SIGNED, b"x"),
        frame(ERROR, b"x") + frame(HEARTBEAT, struct.pack("<d", 1.0)),
        frame(HEARTBEAT, struct.pack("<d", 1.0)) * (HEARTBEATS_FREE + 1000),
    ],
)
def test_what_is_no_answer_is_noticed_at_once(data):
    with pytest.raises(WireError):
        _Answer(100).feed(data)


# --- system calls -----------------------------------------------------------------------------------------------------


def verdict(program, arch, number, *arguments):
    """Run a classic BPF program on one system call, as the kernel would; return its action."""
    words = struct.pack("<IIQ6Q", number, arch, 0, *(list(arguments) + [0] * 6)[:6])
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    a = at = 0
    while True:
        operation, true, false, k = code[at]
        at += 1
        if operation == lockdown.LOAD:
            (a,) = struct.unpack_from("<I", words, k)
        elif operation == lockdown.AND:
            a &= k
        elif operation == lockdown.RETURN:
            return k
        else:
            holds = {
                lockdown.JUMP_EQUAL: a == k,
                lockdown.JUMP_GREATER_EQUAL: a >= k,
                lockdown.JUMP_SET: bool(a & k),
            }[operation]
            at += true if holds else false


DENIED = lockdown.RET_ERRNO | errno.EPERM
# From the kernel's tables, what must never be on the list: (x86-64, aarch64).
FORBIDDEN = {
    "open": (2, None), "openat": (257, 56), "openat2": (437, 437), "socket": (41, 198), "connect": (42, 203),
    "sendto": (44, 206), "sendmsg": (46, 211), "socketpair": (53, 199), "fork": (57, None), "vfork": (58, None),
    "execve": (59, 221), "execveat": (322, 281), "kill": (62, 129), "tkill": (200, 130), "ptrace": (101, 117),
    "ioctl": (16, 29), "prctl": (157, 167), "memfd_create": (319, 279), "shmget": (29, 194), "mq_open": (240, 180),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "io_uring_setup": (425, 425), "bpf": (321, 280), "userfaultfd": (323, 282), "keyctl": (250, 219),
    "unlinkat": (263, 35), "renameat2": (316, 276), "mkdirat": (258, 34), "chdir": (80, 49), "mount": (165, 40),
    "setuid": (105, 146), "unshare": (272, 97), "setns": (308, 268), "recvmsg": (47, 212), "sendfile": (40, 71),
    "perf_event_open": (298, 241), "sched_setaffinity": (203, 122), "setrlimit": (160, 164), "ftruncate": (77, 46),
    "fchmod": (91, 52), "truncate": (76, 45), "readlinkat": (267, 78), "getdents64": (217, 61), "stat": (4, None),
    "pidfd_send_signal": (424, 424), "rt_sigqueueinfo": (129, 138), "splice": (275, 76), "statx": (332, 291),
}  # fmt: skip


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_allows_the_list_and_nothing_else(machine):
    table = lockdown.ARCHITECTURES[machine]
    own = 4711
    program = lockdown.call_filter(table, own)

    def ask(number, *arguments):
        return verdict(program, table.audit, number, *arguments)

    allowed = {numbers[table.column] for numbers in lockdown.ALLOWED.values()} - {None}
    checked = {name: numbers[table.column] for name, numbers in lockdown.CHECKED.items()}
    assert all(ask(number) == lockdown.RET_ALLOW for number in allowed)
    for name, numbers in FORBIDDEN.items():
        if numbers[table.column] is not None:
            assert ask(numbers[table.column]) == DENIED, name
    others = set(range(600)) - allowed - set(checked.values()) - {lockdown.CLONE3}
    assert {ask(number) for number in others} == {DENIED}
    assert ask(lockdown.CLONE3) == lockdown.RET_ERRNO | errno.ENOSYS
    threads, process, namespace = 0x3D0F00, 0x11, 0x3D0F00 | 0x10000000
    assert ask(checked["clone"], threads) == lockdown.RET_ALLOW
    assert ask(checked["clone"], process) == ask(checked["clone"], namespace) == DENIED
    assert ask(checked["tgkill"], own, 1, 6) == lockdown.RET_ALLOW
    assert ask(checked["tgkill"], own + 1, 1, 6) == DENIED
    assert ask(checked["prlimit64"], 0) == lockdown.RET_ALLOW
    assert ask(checked["prlimit64"], own + 1) == DENIED
    assert ask(checked["newfstatat"], 3, 0, 0, lockdown.AT_EMPTY_PATH) == lockdown.RET_ALLOW
    assert ask(checked["newfstatat"], 3, 0, 0, 0) == DENIED
    assert ask(checked["fcntl"], 3, 3) == lockdown.RET_ALLOW
    assert ask(checked["fcntl"], 3, 8) == DENIED  # F_SETOWN: whom to signal


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_calls_of_another_architecture_end_the_process(machine):
    table = lockdown.ARCHITECTURES[machine]
    program = lockdown.call_filter(table, 1)
    assert verdict(program, 0x40000003, 3) == lockdown.RET_KILL  # i386: 3 is read, and close on x86-64
    if machine == "x86_64":
        assert verdict(program, table.audit, 0x40000000) == lockdown.RET_KILL  # x32


def test_an_unknown_architecture_has_no_filter(monkeypatch):
    import platform

    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert lockdown.architecture() is None
    with pytest.raises(lockdown.LayerError, match="riscv64"):
        lockdown.allow_calls()
