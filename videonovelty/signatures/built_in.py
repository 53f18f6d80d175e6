"""Signs a built-in set of pictures and compares with what the codes must be: an upgrade that changes them is noticed
before a night is spent on signatures that match nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

import cv2
import numpy as np

from videonovelty.errors import EnvironmentUnfitError
from videonovelty.records import U8
from videonovelty.signatures.borders import inner_box
from videonovelty.signatures.local import (
    KeyframeFeatures,
    local_features,
    projection,
    share_found_again,
)
from videonovelty.signatures.pdq import PDQ_SIDE, pdq, to_hex

GOLDEN_FILE = "self_check.json"
_POINTS = 100
_MIN_LOCAL_SHARE = 0.95
"""SIFT runs different instructions on different processors and rounds a few descriptors differently; PDQ does not."""


def self_check() -> None:
    """Sign the built-in pictures and compare with the golden codes; takes about 0.1 s.

    Raises EnvironmentUnfitError naming what changed.
    """
    golden = json.loads(resources.files("videonovelty.signatures").joinpath(GOLDEN_FILE).read_text("utf-8"))
    got = sign_built_in()
    changed = [name for name in ("projection", "boxes", "quality", "pdq") if got[name] != golden[name]]
    for number, (ours, theirs) in enumerate(zip(got["local"], golden["local"], strict=True)):
        one, other = _features(ours), _features(theirs)
        share = min(share_found_again(one, other), share_found_again(other, one))
        if share < _MIN_LOCAL_SHARE:
            changed.append(f"local (picture {number}: {share:.0%} of the descriptors are as they were)")
    if changed:
        raise EnvironmentUnfitError(
            f"signatures are not what they were: {', '.join(changed)} changed. "
            f"This machine has OpenCV {cv2.__version__} and NumPy {np.__version__}; the golden codes were made with "
            f"OpenCV {golden['opencv']} and NumPy {golden['numpy']}. Install the versions of requirements.lock, or "
            "enrol the known videos anew."
        )


def sign_built_in() -> dict[str, Any]:
    """Return the signatures of the built-in pictures, as plain JSON values."""
    pictures = list(built_in_pictures())
    small = np.stack([cv2.resize(p, (PDQ_SIDE, PDQ_SIDE), interpolation=cv2.INTER_AREA) for p in pictures])
    codes, quality = pdq(small)
    local = [local_features(picture, points=_POINTS) for picture in pictures]
    return {
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "projection": projection().sha256,
        "boxes": [list(inner_box(picture)) for picture in pictures],
        "quality": quality.tolist(),
        "pdq": [[to_hex(code) for code in variants] for variants in codes],
        "local": [
            {
                "codes": [code.tobytes().hex() for code in features.codes],
                "xy": features.xy.tolist(),
            }
            for features in local
        ],
    }


def built_in_pictures() -> Iterator[U8]:
    """Yield luma pictures of shape (180, 320) and (320, 180): blocks of several sizes, bars, a smooth ramp.

    Whole-number arithmetic only, from a frozen random stream, so they are the same everywhere.
    """
    stream = np.random.RandomState(20240229)  # the legacy stream is frozen by policy
    for height, width in ((180, 320), (320, 180), (180, 320)):
        total = np.zeros((height, width), np.int64)
        for size in (4, 8, 16, 32, 64):
            cells = stream.randint(0, 256, (-(-height // size), -(-width // size)))
            total += np.kron(cells, np.ones((size, size), np.int64))[:height, :width] * size
        picture = (total // 124).astype(np.uint8)
        yield picture
    picture[:24] = picture[-24:] = 16
    yield picture
    ramp = np.arange(320)[None, :] * 200 // 320 + np.arange(180)[:, None] * 55 // 180
    yield ramp.astype(np.uint8)


def _features(plain: dict[str, Any]) -> KeyframeFeatures:
    codes = np.array([np.frombuffer(bytes.fromhex(code), np.uint8) for code in plain["codes"]], np.uint8).reshape(-1, 8)
    zeros = np.zeros(len(codes), np.uint8)
    return KeyframeFeatures(codes, codes, np.array(plain["xy"], np.uint16).reshape(-1, 2), zeros, zeros)
