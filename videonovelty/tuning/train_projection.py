"""Make `signatures/local_projection.npz`: the 64 directions and thresholds that local descriptors are reduced with.

    python -m videonovelty.tuning.train_projection [--out FILE] [--videos DIRECTORY]

The directions are the leading principal components of square-rooted SIFT descriptors, the thresholds their means, both
rounded to whole numbers so that signing is exact. They are learnt from the pictures scikit-image bundles and from
generated ones, none of them footage; a directory of videos is added only where one is named. A new projection is a new
scheme: every known video has to be enrolled again, and `self_check.json` is written anew with it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import skimage.data
from skimage.io import imread

from videonovelty.decode.rgb import read_rgb
from videonovelty.errors import VideoError
from videonovelty.records import U8
from videonovelty.signatures.built_in import GOLDEN_FILE, sign_built_in
from videonovelty.signatures.local import BITS, LOCAL_SIDE, detect, projection, root_descriptors
from videonovelty.tuning.edits import EDITS, generated_picture

BUNDLED = (
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "chessboard_RGB.png", "clock_motion.png",
    "coffee.png", "coins.png", "color.png", "grass.png", "gravel.png", "horse.png", "hubble_deep_field.jpg", "ihc.png",
    "logo.png", "moon.png", "motorcycle_left.png", "page.png", "phantom.png", "retina.jpg", "rocket.jpg", "text.png",
)  # fmt: skip
"""Files of the installed scikit-image; nothing is downloaded."""
GENERATED = 12
_POINTS = 300
_SECONDS_BETWEEN = 2.0
_LARGEST = 127


def training_pictures(videos: Path | None = None) -> Iterator[tuple[str, U8]]:
    """Yield (name, RGB picture) of everything learnt from, in a fixed order."""
    folder = Path(skimage.data.__file__).parent
    for name in BUNDLED:
        picture = imread(folder / name)
        if picture.ndim == 2:
            picture = np.repeat(picture[:, :, None], 3, axis=2)
        yield f"skimage:{name}", np.ascontiguousarray(picture[..., :3], np.uint8)
    for number in range(GENERATED):
        yield f"generated:{number}", generated_picture(np.random.default_rng(number))
    for path in sorted(videos.iterdir()) if videos is not None else ():
        try:
            due = 0.0
            for seconds, frame in read_rgb(path, max_side=640):
                if seconds >= due:
                    due = seconds + _SECONDS_BETWEEN
                    yield f"video:{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}@{seconds:.1f}", frame
        except VideoError as error:
            logging.getLogger(__name__).warning("left out: %s", error)


def descriptors_of(picture: U8, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return the square-rooted descriptors of a picture and of two crops of it, shape (k, 128)."""
    views = (picture, EDITS["crop_30"](picture, rng), EDITS["crop_40"](picture, rng))
    found = []
    for view in views:
        grey = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY)
        factor = LOCAL_SIDE / max(grey.shape)
        size = (max(16, round(grey.shape[1] * factor)), max(16, round(grey.shape[0] * factor)))
        found.append(root_descriptors(detect(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), points=_POINTS)[3]))
    return np.concatenate(found)


def learn(descriptors: npt.NDArray[np.float32], bits: int = BITS) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]]:
    """Return whole-number directions, shape (128, bits), and thresholds, shape (bits,), of the principal components."""
    values = descriptors.astype(np.float64)
    mean = values.mean(axis=0)
    vectors = np.linalg.eigh(np.cov((values - mean).T))[1][:, ::-1][:, :bits]
    vectors = vectors / np.abs(vectors).max(axis=0)
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(bits)])  # a direction has no sign of its own
    directions = np.rint(vectors * _LARGEST).astype(np.int8)
    return directions, np.rint(mean @ directions).astype(np.int32)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(__file__).parents[1] / "signatures" / "local_projection.npz"
    parser.add_argument("--out", type=Path, default=default)
    parser.add_argument("--videos", type=Path, help="a directory of harmless videos to learn from as well")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    names, found = [], []
    for name, picture in training_pictures(options.videos):
        names.append(name)
        found.append(descriptors_of(picture, rng))
    directions, thresholds = learn(np.concatenate(found))
    np.savez(options.out, directions=directions, thresholds=thresholds, trained_on=np.array(names))
    if options.out == default:
        projection.cache_clear()
        default.with_name(GOLDEN_FILE).write_text(json.dumps(sign_built_in()) + "\n", encoding="utf-8")
    total = sum(map(len, found))
    logging.getLogger(__name__).warning("%s: %d descriptors of %d pictures", options.out, total, len(names))


if __name__ == "__main__":
    main()
