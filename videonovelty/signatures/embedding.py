"""Sign bits of an embedding whose ONNX file the agency supplies; none is shipped, none is downloaded.

The file takes pictures of shape (N, H, W, 3), uint8, RGB, and returns one row of floats a picture. Needs the `onnx`
extra.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videonovelty.errors import EnvironmentUnfitError
from videonovelty.records import U8

DEFAULT_SIDE = 288
"""Width and height given to a model that leaves its input size open."""


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingModel:
    """A loaded model that was checked."""

    session: Any
    input_name: str
    height: int
    width: int
    dimensions: int
    sha256: str

    def sign(self, pictures: U8) -> U8:
        """Return the sign bits, shape (n, dimensions / 8), of RGB `pictures`, shape (n, height, width, 3), uint8."""
        rows = [self.session.run(None, {self.input_name: picture[None]})[0] for picture in pictures]
        return np.packbits(np.concatenate(rows) > 0, axis=1)


def model_digest(path: Path) -> str:
    """Return the SHA-256 of the model file. Raises EnvironmentUnfitError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EnvironmentUnfitError(f"{path}: the embedding model cannot be read: {error.strerror}") from error


def load_model(path: Path) -> EmbeddingModel:
    """Return the model of `path` after checking that it takes pictures and returns one row of floats each.

    Raises EnvironmentUnfitError naming what does not fit.
    """
    try:
        import onnxruntime  # noqa: PLC0415
    except ImportError as error:
        raise EnvironmentUnfitError(
            "signatures.embedding_model is set, but onnxruntime is missing: install videonovelty[onnx]"
        ) from error
    digest = model_digest(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise EnvironmentUnfitError(f"{path}: not a model onnxruntime can load: {error}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(uint8)" or len(inputs[0].shape) != 4 or inputs[0].shape[3] != 3:
        raise EnvironmentUnfitError(f"{path}: the model must take one (N, H, W, 3) uint8 input")
    height, width = (size if isinstance(size, int) else DEFAULT_SIDE for size in inputs[0].shape[1:3])
    row = session.run(None, {inputs[0].name: np.zeros((1, height, width, 3), np.uint8)})[0]
    if len(outputs) != 1 or row.ndim != 2 or row.dtype.kind != "f" or row.shape[1] % 8:
        raise EnvironmentUnfitError(f"{path}: the model must return one row of floats, a multiple of 8, a picture")
    return EmbeddingModel(session, inputs[0].name, height, width, row.shape[1], digest)
