"""Settings: one TOML table a stage, every default, unit and meaning stated once, here. An unknown key is an error.

Precedence: command line, then `VIDEONOVELTY_<TABLE>__<KEY>` in the environment, then the TOML file, then the default.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from videonovelty.errors import SettingsError


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class IntakeSettings(_Table):
    """[intake]: which files are taken."""

    settle_seconds: float = Field(2.0, ge=0)
    """A file modified more recently than this before the scan is looked at twice; if it grew it is `unstable`."""
    follow_folders: bool = True
    """Walk into sub-folders. Links are never followed."""


class DecodeSettings(_Table):
    """[decode]: what is opened, and its limits. Enforced in the container and in the codec."""

    formats: tuple[str, ...] = (
        "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo",
        "flv", "asf", "ogg", "mxf", "h264", "hevc", "m4v", "gif", "ivf", "obu", "rm", "dv", "wtv", "nut",
        "webp_anim", "swf", "h263", "vc1", "av1", "apng",
    )  # fmt: skip
    """Container formats that are opened; anything else is refused and flagged. Playlists are never on the list."""
    codecs: tuple[str, ...] = (
        "h264", "hevc", "av1", "libdav1d", "vp8", "vp9", "mpeg4", "mpeg2video", "mpeg1video", "h263", "h263i",
        "h263p", "flv", "wmv1", "wmv2", "wmv3", "vc1", "mjpeg", "msmpeg4", "msmpeg4v1", "msmpeg4v2", "theora",
        "cinepak", "gif", "prores", "dnxhd", "rv10", "rv20", "rv30", "rv40", "svq1", "svq3", "dvvideo", "vp6",
        "vp6f", "vp6a", "flashsv", "flashsv2", "png", "apng", "rawvideo", "huffyuv", "ffv1", "qtrle", "indeo5",
        "libvpx", "libvpx-vp9", "mpeg1", "vp7", "msvideo1",
    )  # fmt: skip
    """Decoders that may run (FFmpeg's decoder names)."""
    max_pixels: int = Field(36_000_000, gt=0)
    """Largest picture, width × height. 8K UHD is 33,177,600."""
    max_frames: int = Field(20_000_000, gt=0)
    """Frames decoded of one video before it counts as partly decoded: 24 h at 200 frames a second."""
    max_video_streams: int = Field(8, gt=0)
    """Video streams looked at in one file; more of them leave it partly decoded."""
    motion_step_seconds: float = Field(0.1, gt=0)
    """Tick of the motion profile on the query side; the store keeps every other tick."""


class KeyframeSettings(_Table):
    """[keyframes]: which pictures are signed."""

    grid_seconds: float = Field(0.5, gt=0, le=1.0)
    """The grid at which pictures are looked at for novelty between shot starts."""
    longest_interval_seconds: float = Field(2.0, gt=0)
    """A keyframe stands for no longer than this, however still the footage."""
    min_keyframes: int = Field(6, ge=1)
    """Keyframes of a video at least, as far as it has frames."""
    max_keyframes: int = Field(6000, ge=10)
    """Keyframes of a video at most; beyond it they are thinned evenly and a note says so."""
    cut_ratio: float = Field(3.5, gt=1)
    """A cut differs this many times as much as its neighbourhood."""
    cut_floor: float = Field(9.0, gt=0)
    """…and at least this much, in grey levels of the mean absolute difference."""
    novelty_difference: float = Field(0.08, gt=0)
    """Mean absolute thumbnail difference (share of full scale) above which a grid picture is kept."""
    novelty_correlation: float = Field(0.75, gt=0, lt=1)
    """…or normalised correlation below which it is kept."""


class SignatureSettings(_Table):
    """[signatures]: what is computed for each keyframe. Part of the scheme: a change needs a new enrolment."""

    local: bool = True
    """Local descriptors, for crops, frames, picture-in-picture, screen recordings."""
    local_side: int = Field(320, ge=160, le=1280)
    local_points: int = Field(400, ge=20, le=2000)
    """Descriptors of a keyframe at most, the best first; known videos keep the first 200."""
    min_quality: int = Field(5, ge=0, le=100)
    """PDQ quality below which a picture is uninformative: what a code of it says is chance."""
    min_luma_deviation: float = Field(2.5, ge=0)
    """Standard deviation of luma below which a picture is uninformative."""
    embedding_model: str = ""
    """Path of an ONNX file whose embedding is signed too; empty for none."""


class SandboxSettings(_Table):
    """[sandbox]: the locked process every video is decoded in."""

    allow_unsandboxed: bool = False
    """Run without the lock where it cannot be installed. Stamped on every row."""
    memory_bytes: int = Field(2 << 30, ge=256 << 20)
    """Address space of one decoding process."""
    cpu_seconds_base: float = Field(60.0, gt=0)
    wall_seconds_base: float = Field(60.0, gt=0)
    wall_seconds_per_video_second: float = Field(2.0, ge=0)
    """Added to the base for each second the container declares."""
    wall_seconds_max: float = Field(14_400.0, gt=0)
    stall_seconds: float = Field(30.0, gt=0)
    """No heartbeat for this long ends the decode."""
    max_record_bytes: int = Field(256 << 20, gt=0)
    """Longest answer a decoding process may send."""
    max_attempts: int = Field(3, ge=1)
    """A video whose decode never reported back this many times less one is quarantined at the next try."""


class MatchingSettings(_Table):
    """[matching]: which frames count as alike, and how they line up in time."""

    radius_bits: int = Field(31, ge=0, le=31)
    """PDQ distance up to which pairs are found exactly."""
    max_hits_per_keyframe: int = Field(2000, ge=1)
    """A keyframe with more matches says nothing (common material)."""
    stop_share: float = Field(0.001, gt=0, lt=1)
    """A keyframe that matches more than this share of the known videos (and more than `stop_videos`) proves nothing."""
    stop_videos: int = Field(20, ge=1)
    local_radius_bits: int = Field(7, ge=0, le=20)
    """Distance of 64-bit local descriptors up to which pairs vote."""
    local_votes: float = Field(2.0, gt=0)
    """Votes (descriptors weighted by rarity) for a pair of keyframes to be verified."""
    max_local_candidates: int = Field(6, ge=1)
    """Known videos verified for one query by their local descriptors, best first."""
    local_pairs: int = Field(32, ge=1)
    """Pairs of keyframes verified with one candidate, best first."""
    speeds: tuple[float, ...] = (1.0, 0.5, 0.667, 0.8, 1.25, 1.5, 2.0)
    """Playing speeds of the query relative to the known video that are tried; 1.0 first."""
    backwards: bool = True
    """Seek what is not proven as it is played backwards, too."""
    time_tolerance_seconds: float = Field(1.0, gt=0)
    """How far a matched pair may lie off the line through the others."""
    min_matched_keyframes: int = Field(2, ge=1)
    """Keyframes of the query on one line for a segment to count at all."""
    max_candidates: int = Field(20, ge=1)
    """Known videos aligned for one query, best first."""


class ProofSettings(_Table):
    """[proof]: when aligned footage is the same footage."""

    min_seconds: float = Field(1.6, gt=0)
    """Aligned time below which nothing is proven by time."""
    min_events: float = Field(40.0, ge=0)
    """Changes (cells of the motion grid, ticks of 0.2 s) a proof rests on at least…"""
    doubtful_events: float = Field(70.0, ge=0)
    """…and where the pictures look alike at all moments: a clock changes seldom, and always alike."""
    faint_quality: int = Field(50, ge=0, le=100)
    """Pictures of lower PDQ quality have little in them…"""
    faint_events: float = Field(2.0, ge=1)
    """…and where all are, a proof rests on so many times the changes: a camera that adapts itself to an even ground
    after somebody left changes all of it, and does so every time."""
    sure_agreement: float = Field(0.43, gt=0, lt=1)
    """Correlation of the signs of change a long stretch needs whose pictures tell its moments from others…"""
    sure_agreement_seconds: float = Field(0.7, ge=0)
    """…and this much more, divided by its seconds."""
    doubtful_agreement: float = Field(0.5, gt=0, lt=1)
    """The same where the pictures look alike at all moments (a fixed camera)…"""
    doubtful_agreement_seconds: float = Field(1.15, ge=0)
    """…and this much more, divided by its seconds."""
    max_agreement: float = Field(0.9, gt=0, le=1)
    """No stretch needs more than this."""
    sure_margin: float = Field(0.1, ge=0, lt=1)
    """How far it must stand above the agreement at every other offset, where the pictures tell the moments apart…"""
    doubtful_margin: float = Field(0.3, ge=0, lt=1)
    """…and where they do not."""
    repeating_agreement: float = Field(0.85, gt=0, le=1)
    """Footage that repeats itself needs no margin from this agreement on, if its pictures are within `near_bits`."""
    level_changes: float = Field(80.0, gt=0)
    """Cells of the 8 × 8 grid that change, summed over ticks at which all 64 are as bright as in the known video, from
    which they prove the same footage by themselves. Of 456 other takes none came to more than 26."""
    small_agreement: float = Field(0.3, gt=0, lt=1)
    """Where too little moves to be told by its signs: correlation of the small changes of all cells a stretch needs…"""
    small_margin: float = Field(0.2, ge=0, lt=1)
    """…how far above that at every other offset…"""
    small_deviations: float = Field(7.0, gt=0)
    """…how many deviations of those at other offsets it must be…"""
    small_sure_agreement: float = Field(0.6, gt=0, lt=1)
    """…or, of changes that agree as well as this and by `doubtful_margin` better than at every other offset…"""
    small_sure_deviations: float = Field(5.0, gt=0)
    """…no more of them: a few seconds have few other offsets. None of 524 windows of other takes, of 5 and of 12 s,
    had both, and 265 of 366 of copies of 5 s, of which 209 have the former…"""
    small_chance: float = Field(3.0, gt=0)
    """…and how many of chance, by how many ticks and cells carry it: two ticks that change much are not enough. Of 325
    windows of other takes three met all else, and had 1.2; of windows of copies one of twenty has less than 3.4."""
    altered_bits: int = Field(8, ge=0, le=128)
    """Median PDQ distance from which the pictures were altered: every part of them must move like the known ones."""
    window_changes: float = Field(60.0, gt=0)
    """Changes within a stretch in some cells of the fine grid, in dead zones of the motion profile…"""
    window_agreement: float = Field(0.7, ge=0, lt=1)
    """…that agree, with one deviation of chance, by less than this share of the whole: something else moves there."""
    covered_changes: float = Field(30.0, gt=0)
    """Where as many cells change in the known video, and something moves in the query…"""
    covered_agreement: float = Field(0.5, ge=0, lt=1)
    """…the query must follow by this share of what it follows in the whole: otherwise something covers them."""
    covered_evidence: float = Field(20.0, gt=0)
    """Log likelihood ratio of a hole in the picture, where no local descriptors of both sides find each other, from
    which something covers it: half of the channel logos, most large stickers, 1 % of other copies reach it."""
    region_window_agreement: float = Field(0.75, ge=0, lt=1)
    """`window_agreement` where a proof rests on a placement, as that of a crop does: fewer cells are compared…"""
    region_covered_evidence: float = Field(12.0, gt=0)
    """…and `covered_evidence`."""
    pane_evidence: float = Field(25.0, gt=0)
    """The same of a pane, a rectangle whose borders the query's keyframes share, by the query's descriptors alone: the
    borders say where to look."""
    least_details: float = Field(0.03, ge=0, lt=1)
    """Share of local descriptors that must find the known ones, where enough of them are there to tell: what is drawn
    over known footage is as light and dark, and moves like it. Of 2,100 proven stretches of copies under 62 edits the
    least had 0.038; what was drawn over blurred known footage had up to 0.025."""
    least_picture_details: float = Field(0.15, ge=0, lt=1)
    """The same of descriptors of the very pictures that the known video has described, of whole pictures: 0.8 % of the
    seconds of copies fall below, most of them coded hard or grainy."""
    part_details_evidence: float = Field(10.0, gt=0)
    """Log likelihood ratio of a part of the picture in which the query's descriptors are not those the known video has
    of the very same picture, from which something was put there, a face in another's place: 1 to 3 % of the seconds of
    copies reach it, most of them with something moving over them."""
    telling_bits: float = Field(32.0, gt=0)
    """Pictures tell the moments apart when those of other moments are this much farther than the aligned ones."""
    sped_doubt: float = Field(0.5, ge=0, le=1)
    """How much is in doubt at another speed than the plain one at least, as where the pictures look alike: many speeds
    are tried, so chance has many tries."""
    plain_margin: float = Field(0.02, ge=0, le=1)
    """How much better than at the plain speed the movement must agree at another one; else it has to prove itself
    there."""
    min_line_agreement: float = Field(0.5, gt=0, lt=1)
    """Agreement from which the movement alone proposes a line."""
    expected_agreement: float = Field(0.3, gt=0, lt=1)
    """Agreement at which a tick speaks neither for nor against the line."""
    switch_cost: float = Field(8.0, gt=0)
    """Evidence (in agreeing changes) it takes to end or begin a stretch."""
    aligned_bits: int = Field(64, ge=0, le=128)
    """PDQ distance up to which a keyframe looks like the aligned moment of a candidate."""
    unlike_bits: int = Field(90, ge=0, le=256)
    """PDQ distance from which it shows something else."""
    scene_bits: int = Field(31, ge=0, le=128)
    """PDQ distance up to which a keyframe shows the scene of a candidate, whatever the moment; it proves nothing."""
    near_bits: int = Field(16, ge=0, le=64)
    """PDQ distance up to which a still passage between proven movement shows the same picture."""
    max_still_seconds: float = Field(1.0, ge=0)
    """Longest still passage at an end of a proven stretch, or inside one whatever its pictures."""
    max_still_inside_seconds: float = Field(4.0, ge=0)
    """Longest still passage between proven movement whose pictures are the same."""
    around_contradiction: float = Field(0.5, gt=-1, lt=1)
    """An agreement below this around a moment speaks against the line there."""
    around_seconds: float = Field(0.8, gt=0)
    """Around a keyframe, this far to both sides…"""
    around_events: float = Field(10.0, gt=0)
    """…this many changes…"""
    around_agreement: float = Field(0.6, gt=0, lt=1)
    """…with this agreement speak for the line where the picture, in fast movement, cannot."""
    max_median_bits: float = Field(72.0, gt=32)
    """Largest median PDQ distance of the keyframes of a proven stretch."""
    min_inliers: int = Field(7, ge=4)
    """Local descriptors that agree in place for a keyframe to lie in its aligned moment."""
    geometric_bits: int = Field(48, ge=0, le=128)
    """What such an agreement counts as, in PDQ bits: geometry asks more of the movement than a near picture does."""
    placed_by_chance: float = Field(1e-6, gt=0, lt=1)
    """A known video is named where many keyframes show it in one place, and fewer such places than this are expected by
    chance; it proves nothing. Of a night of 10,000 videos some 60,000 candidates are tried."""
    offset_search_seconds: float = Field(2.2, ge=0)
    """How far around the line of matched keyframes the exact offset is searched: more than twice the time tolerance,
    which a vote may mix two lines within."""


class VerdictSettings(_Table):
    """[verdict]: when a video counts as known."""

    max_unseen_seconds: float = Field(2.0, gt=0)
    """A cleared video has no stretch longer than this that nobody looked at."""
    min_known_share: float = Field(1.0, gt=0, le=1)
    """Share of the informative seconds that must be proven."""
    boundary_seconds: float = Field(0.35, ge=0)
    """Unexplained slivers up to this long at the ends of a proven stretch are rounding, not footage."""
    max_uninformative_share: float = Field(0.5, ge=0, le=1)
    """More of a video than this without anything to compare, and it is not cleared."""
    min_spatial_share: float = Field(0.4, gt=0, le=1)
    """Known footage that fills less of the picture plays inside something else."""
    min_informative_keyframes: int = Field(3, ge=1)


class RunSettings(_Table):
    """[run]: the engine."""

    workers: int = Field(0, ge=0)
    """Worker processes on this machine; 0 runs a plain loop. The command line's --workers overrides it."""
    threads_per_worker: int = Field(1, ge=1)
    progressive: bool = True
    """Compare coded packets first: a stream copy of known videos is known without being decoded."""
    window_per_worker: int = Field(3, ge=1)
    """Videos handed out ahead of a worker."""
    min_free_bytes: int = Field(512 << 20, ge=0)
    """The run stops before a video is opened when the disk holds less than this."""
    watchdog_seconds: float = Field(1800.0, gt=0)
    """No video finished for this long stops the run, resumable."""
    drain_seconds: float = Field(20.0, ge=0)
    """After Ctrl-C or SIGTERM, what is in work may still finish for this long."""
    tls_ca_file: str = ""
    """PEM files for an existing scheduler (--scheduler tls://…): who may be trusted,"""
    tls_cert_file: str = ""
    """…our certificate,"""
    tls_key_file: str = ""
    """…and its key. All three, or none without --scheduler."""
    join_memory_bytes: int = Field(2 << 30, ge=64 << 20)
    """Memory one join task may use."""


class ReportSettings(_Table):
    """[report]"""

    title: str = "Novelty report"
    max_single_file_bytes: int = Field(60_000_000, ge=1_000_000)
    """Above this the report becomes a folder of data files beside index.html."""
    past_runs: int = Field(30, ge=0)
    """Earlier runs in the same folder that a run's distances and failures are held against; 0: none."""
    drift_bits: float = Field(4.0, gt=0)
    """How far the median distance of proven keyframes may be from the past runs' before the report warns."""
    stale_days: int = Field(45, ge=0)
    """An imported list whose newest entry is older than this is told; 0: never."""


class ReviewSettings(_Table):
    """[review]: how analysts' decisions become known material."""

    list_name: str = Field("reviewed", min_length=1, max_length=200)
    """The list that videos are enrolled on."""
    disposition: Literal["abuse", "benign", "other"] = "other"
    """What they are where neither the analyst nor the known video says it."""
    reviewers: int = Field(1, ge=1, le=9)
    """So many analysts have to agree before a video is enrolled and leaves later queues."""
    analysts: tuple[str, ...] = ()
    """Names decisions are taken from; empty: from anyone."""


# US: the Project VIC tags of Autopsy (DhsImageCategory, CAT-0 … CAT-5). UK: the letters are the Sentencing Council's of
# 2014; that 1, 2, 3 stand for A, B, C in this order is from no public source, and what 4 and beyond mean is not public:
# those are left out until a person who knows adds them.
_CATEGORIES = (
    "US 0 unjudged",
    "US 1 abuse child abuse material",
    "US 2 abuse child exploitation, age difficult",
    "US 3 other drawn or computer-generated",
    "US 4 other comparison",
    "US 5 benign not pertinent",
    "UK 0 unjudged",
    "UK 1 abuse category A",
    "UK 2 abuse category B",
    "UK 3 abuse category C",
)


class ListSettings(_Table):
    """[lists]: how lists from outside are read."""

    country: str = ""
    """Whose meaning the category numbers of Project VIC files have; empty: the file says, and US where it says none."""
    categories: tuple[str, ...] = _CATEGORIES
    """Country, number, `abuse`, `benign`, `other` or `unjudged`, then a name. What nobody has judged, or has a number
    not given here, is not taken into the store: it would clear videos nobody has seen."""
    min_quality: int = Field(50, ge=0, le=100)
    """PDQ quality below which a listed frame says nothing."""
    min_frames: int = Field(2, ge=1)
    """Keyframes that must look like listed frames of one video, unless it has fewer, for `same_scene`."""
    withdraw_downvoted: bool = True
    """An entry more members of a feed voted down than up counts as taken back."""


class NightlySettings(_Table):
    """[nightly]: the scheduled job of `pipelines/nightly.py`; commands do not read it."""

    intake: tuple[Path, ...] = ()
    """Folders of tonight's files."""
    store: Path = Path("known")
    runs: Path = Path("runs")
    """One run folder a night is made in here, named by the date."""
    keep_nights: int = Field(30, ge=1)
    """Nights whose signatures are kept; older run folders lose theirs, tables and journal stay."""
    purge_after_days: int = Field(0, ge=0)
    """Days after which a run loses its tables, names and ids too, all but one line that it was; 0 for never."""
    metrics_folder: str = ""
    """Folder of a metrics collector (node_exporter's textfile folder) that gets a copy of metrics.prom; empty: none."""
    lists: str = ""
    """Folder with one folder a list; new and changed files in them are imported before the scan; empty for none."""
    skip: tuple[Literal["import", "scan", "group", "report", "metrics", "retention"], ...] = ()
    """Steps that are left out: import, scan, group, report, metrics, retention."""


class EnrolSettings(_Table):
    """[enrol]: the scheduled job of `pipelines/enrol.py`; commands do not read it."""

    folders: tuple[Path, ...] = ()
    """Folders whose videos become known, each under the list of its own name."""
    store: Path = Path("known")
    disposition: Literal["abuse", "benign", "other"] = "other"
    reason: str = "scheduled enrolment"


class TuneSettings(_Table):
    """[tune]: the job of `pipelines/tune.py`; commands do not read it."""

    samples: Path = Path("samples")
    """The sample set, made by `samples make` or `samples label`."""
    out: Path = Path("tuned")
    """Where settings, tables and the report are written."""
    cache: Path = Path("tuned/signatures")
    """Signatures, kept between runs."""
    sweep: tuple[str, ...] = ()
    """Values to try, each like "proof.min_events=20,40,80"; empty for the usual ones."""
    max_settings: int = Field(512, ge=1)
    """Combinations tried at most; more are drawn from by `seed`."""
    seed: int = 0
    cost_missed: float = Field(10_000.0, ge=0)
    """What a new video costs that nobody sees…"""
    cost_minute: float = Field(1.0, ge=0)
    """…against a minute of a reviewer…"""
    cost_exposure: float = Field(5.0, ge=0)
    """…and a known video that is looked at once more."""
    baseline: str = ""
    """A baseline to hold the settings against first; empty for none."""


class EvidenceSettings(_Table):
    """[evidence]: what the settings were chosen by; written by `tune`, kept in run.json, read by nothing."""

    facts: tuple[str, ...] = ()


class Settings(_Table):
    """All settings of a run."""

    intake: IntakeSettings = IntakeSettings()
    decode: DecodeSettings = DecodeSettings()
    keyframes: KeyframeSettings = KeyframeSettings()
    signatures: SignatureSettings = SignatureSettings()
    sandbox: SandboxSettings = SandboxSettings()
    matching: MatchingSettings = MatchingSettings()
    proof: ProofSettings = ProofSettings()
    verdict: VerdictSettings = VerdictSettings()
    run: RunSettings = RunSettings()
    report: ReportSettings = ReportSettings()
    review: ReviewSettings = ReviewSettings()
    lists: ListSettings = ListSettings()
    nightly: NightlySettings = NightlySettings()
    enrol: EnrolSettings = EnrolSettings()
    tune: TuneSettings = TuneSettings()
    evidence: EvidenceSettings = EvidenceSettings()

    def signing_fingerprint(self) -> str:
        """Return 16 hex digits that change when a setting that shapes signatures changes."""
        tables = {t: getattr(self, t).model_dump(mode="json") for t in ("decode", "keyframes", "signatures")}
        return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()[:16]


def load_settings(path: Path | None = None, **overrides: Any) -> Settings:
    """Return the settings of `path` (TOML, may be None) with `overrides` as nested mappings, e.g. `run={"workers": 2}`.

    Raises SettingsError naming the file and the key.
    """
    if path is not None and not path.is_file():
        raise SettingsError(f"{path}: no such settings file. Start from sample_config/nightly.toml.")

    try:
        return Settings(**_told(path, overrides))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        kind = "unknown key" if first["type"] == "extra_forbidden" else first["msg"].lower()
        where = str(path) if path is not None else "settings"
        raise SettingsError(f"{where}: {key}: {kind}. sample_config/nightly.toml lists every key.") from error
    except (OSError, ValueError) as error:  # tomllib's TOMLDecodeError is a ValueError
        raise SettingsError(f"{path}: not readable as TOML: {error}") from error


def _told(path: Path | None, overrides: dict[str, Any]) -> dict[str, Any]:
    """Return what command line, environment and file say, in this precedence, with the defaults."""
    # a quarter of what is imported: a process that is sent its settings need not carry it, nor each fork of it
    from pydantic_settings import (  # noqa: PLC0415
        BaseSettings,
        PydanticBaseSettingsSource,
        SettingsConfigDict,
        TomlConfigSettingsSource,
    )

    class _Sources(Settings, BaseSettings):
        model_config = SettingsConfigDict(env_prefix="VIDEONOVELTY_", env_nested_delimiter="__")

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            located = () if path is None else (TomlConfigSettingsSource(settings_cls, path),)
            return (init_settings, env_settings, *located)

    return _Sources(**overrides).model_dump()
