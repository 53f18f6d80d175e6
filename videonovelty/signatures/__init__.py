"""From keyframes to signatures: small codes that find a picture again, and from which no picture can be made.

`sign_keyframes` reads keyframes one at a time and lets go of their pixels. What each part finds, what it costs and what
was tried instead stands in DESIGN.md beside this file.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from videonovelty.records import (
    F64,
    KNOWN_POINTS,
    N_DIHEDRAL,
    PDQ_BYTES,
    U8,
    Frame,
    Keyframe,
    LocalFeatures,
    Panes,
)
from videonovelty.settings import SignatureSettings
from videonovelty.signatures import embedding
from videonovelty.signatures.borders import inner_box
from videonovelty.signatures.built_in import self_check
from videonovelty.signatures.local import (
    CONTRAST_THRESHOLD,
    DESCRIBED_BLUR,
    KeyframeFeatures,
    local_features,
    no_features,
    projection,
    share_found_again,
)
from videonovelty.signatures.motion import MOTION_VERSION
from videonovelty.signatures.panes import PaneRecorder
from videonovelty.signatures.pdq import PDQ_SIDE, pdq

__all__ = ["KeyframeSignatures", "scheme", "self_check", "sign_keyframes"]

MAX_REPEATED_SHARE = 0.6
"""A keyframe whose descriptors the last described keyframe of its shot already has, to this share, carries none."""
REFRESH_SECONDS = 4.0
"""…but a shot's descriptors are never older than this, so that a match in a still shot is placed well in time."""
SPACING_SECONDS = 1.0
"""Within a shot, descriptors are no closer than this: they find and locate; the PDQ of every keyframe fills in."""
_STRIPE_LEVELS = 6
_STRIPE_SHARE = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class KeyframeSignatures:
    """The signatures of one video's keyframes, in presentation order; fields as in `records.Signatures`."""

    pts_seconds: F64
    start_seconds: F64
    end_seconds: F64
    pdq: U8
    """Shape (n, 8, 32)."""
    pdq_inner: U8
    """Shape (n, 8, 32); equal to `pdq` where there is no border."""
    has_inner: npt.NDArray[np.bool_]
    quality: U8
    """Shape (n,): PDQ quality of the full picture."""
    informative: npt.NDArray[np.bool_]
    """Shape (n,): the picture, without its borders, is neither flat nor dark nor striped in one direction only."""
    local: LocalFeatures
    panes: Panes
    embedding: U8
    """Shape (n, dimensions / 8); (n, 0) without a model."""


def scheme(settings: SignatureSettings) -> str:
    """Return the name of the algorithms and parameters in `settings`; signatures of different names never match.

    >>> scheme(SignatureSettings(local=False))
    'pdq64+inner1+motion4+cv5'
    """
    parts = [f"pdq{PDQ_SIDE}", "inner1", MOTION_VERSION]
    if settings.local:
        parts.append(
            f"sift{settings.local_side}x{min(settings.local_points, KNOWN_POINTS)}of{settings.local_points}"
            f"c{CONTRAST_THRESHOLD:g}b{DESCRIBED_BLUR:g}root64-{projection().sha256[:12]}"
        )
    if settings.embedding_model:
        parts.append(f"onnx-{embedding.model_digest(Path(settings.embedding_model))[:12]}")
    parts.append(f"cv{cv2.__version__.split('.')[0]}")
    return "+".join(parts)


def sign_keyframes(keyframes: Iterable[Keyframe], settings: SignatureSettings) -> KeyframeSignatures:
    """Return the signatures of `keyframes`, which come in presentation order and are read one at a time.

    Local descriptors stay with the keyframes that show something new: the first of each shot, then, at least a second
    apart, those that differ from the last one described, and one every four seconds of a still shot. The others have
    none, and their rows in `local.offsets` are empty. Uninformative keyframes have none either.
    Memory: 10 KB a keyframe, plus the pixels of one keyframe and small pictures of those among which panes are sought.
    Raises EnvironmentUnfitError where the embedding model of the
    settings cannot be used.
    """
    cv2.setNumThreads(1)  # parallel across videos, and the same sums whatever the machine
    model = embedding.load_model(Path(settings.embedding_model)) if settings.embedding_model else None
    signed: list[_Signed] = []
    described: _Signed | None = None
    panes = PaneRecorder(functools.partial(_informative, settings=settings))
    for number, keyframe in enumerate(keyframes):
        picture = _picture(keyframe.frame, settings.local_side)
        one = _sign(keyframe, picture, settings, described, model)
        if len(one.features):
            described = one
        if one.informative:
            panes.see(number, picture)
        signed.append(one)
    return _stacked(signed, panes.finish(), model.dimensions // 8 if model is not None else 0)


@dataclass(frozen=True, slots=True, eq=False)
class _Signed:
    """One keyframe's signatures."""

    times: tuple[float, float, float]
    shot: int
    codes: U8
    inner_codes: U8
    has_inner: bool
    quality: int
    informative: bool
    features: KeyframeFeatures
    embedding: U8


def _sign(
    keyframe: Keyframe,
    picture: U8,
    settings: SignatureSettings,
    described: _Signed | None,
    model: embedding.EmbeddingModel | None,
) -> _Signed:
    frame = keyframe.frame
    top, bottom, left, right = inner_box(picture)
    inner = picture[top:bottom, left:right]
    has_inner = inner.shape != picture.shape
    looked_at = [frame.luma(PDQ_SIDE, PDQ_SIDE)]
    if has_inner:
        looked_at.append(cv2.resize(inner, (PDQ_SIDE, PDQ_SIDE), interpolation=cv2.INTER_AREA))
    codes, quality = pdq(np.stack(looked_at))
    informative = _informative(inner, int(quality[-1]), settings=settings)
    features = no_features()
    if settings.local and informative and not _too_soon(keyframe, described):
        features = local_features(picture, points=settings.local_points)
        if described is not None and described.shot == keyframe.shot and not _due(keyframe, described):
            repeated = share_found_again(features, described.features)
            features = features if repeated < MAX_REPEATED_SHARE else no_features()
    bits = np.zeros(0, np.uint8)
    if model is not None:
        grey = frame.luma(model.width, model.height)
        bits = model.sign(np.repeat(grey[None, :, :, None], 3, axis=3))[0]
    return _Signed(
        times=(keyframe.pts_seconds, keyframe.start_seconds, keyframe.end_seconds),
        shot=keyframe.shot,
        codes=codes[0],
        inner_codes=codes[-1],
        has_inner=has_inner,
        quality=int(quality[0]),
        informative=informative,
        features=features,
        embedding=bits,
    )


def _informative(luma: U8, quality: int, *, settings: SignatureSettings) -> bool:
    return (
        quality >= settings.min_quality
        and float(cv2.meanStdDev(luma)[1][0, 0]) >= settings.min_luma_deviation
        and not _striped(luma)
    )


def _picture(frame: Frame, longer_side: int) -> U8:
    """Return the keyframe's luma with `longer_side` px on its longer side, or fewer where the video has fewer."""
    factor = min(1.0, longer_side / max(frame.width, frame.height))
    width, height = (max(16, round(side * factor)) for side in (frame.width, frame.height))
    return frame.luma(width, height)


def _striped(luma: U8) -> bool:
    """Return whether nearly every line equals its neighbour, along one axis: colour bars, ramps, blank slides.

    Lines are compared whole, so that a small thing in an empty picture is enough to say no.
    """
    for lines in (luma, luma.T):
        change = np.maximum(lines[1:], lines[:-1]) - np.minimum(lines[1:], lines[:-1])
        if (change.max(axis=1) <= _STRIPE_LEVELS).mean() >= _STRIPE_SHARE:
            return True
    return False


def _too_soon(keyframe: Keyframe, described: _Signed | None) -> bool:
    return (
        described is not None
        and described.shot == keyframe.shot
        and keyframe.pts_seconds - described.times[0] < SPACING_SECONDS
    )


def _due(keyframe: Keyframe, described: _Signed) -> bool:
    return keyframe.pts_seconds - described.times[0] >= REFRESH_SECONDS


def _stacked(signed: list[_Signed], panes: Panes, embedding_bytes: int) -> KeyframeSignatures:
    times = np.array([one.times for one in signed], np.float64).reshape(-1, 3)
    features = [one.features for one in signed] or [no_features()]
    offsets = np.zeros(len(signed) + 1, np.int64)
    np.cumsum([len(one.features) for one in signed], out=offsets[1:])
    none = np.zeros((0, N_DIHEDRAL, PDQ_BYTES), np.uint8)
    return KeyframeSignatures(
        pts_seconds=times[:, 0].copy(),
        start_seconds=times[:, 1].copy(),
        end_seconds=times[:, 2].copy(),
        pdq=np.stack([one.codes for one in signed]) if signed else none,
        pdq_inner=np.stack([one.inner_codes for one in signed]) if signed else none,
        has_inner=np.array([one.has_inner for one in signed], np.bool_),
        quality=np.array([one.quality for one in signed], np.uint8),
        informative=np.array([one.informative for one in signed], np.bool_),
        local=LocalFeatures(
            offsets=offsets,
            codes=np.concatenate([f.codes for f in features]),
            mirrored_codes=np.concatenate([f.mirrored_codes for f in features]),
            xy=np.concatenate([f.xy for f in features]),
            scale=np.concatenate([f.scale for f in features]),
            angle=np.concatenate([f.angle for f in features]),
        ),
        panes=panes,
        embedding=np.array([one.embedding for one in signed], np.uint8).reshape(len(signed), embedding_bytes),
    )
