"""PDQ: 256 bits of one picture's coarse luma, and the bits its mirrored and rotated variants would have.

Algorithm: Meta, "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm" (2019, `hashing.pdf` of the
ThreatExchange repository). A 64 × 64 luma picture goes through a 64-point DCT of which components 1 … 16 a side are
kept; a bit says whether a component exceeds the median of the 256. A mirrored or rotated picture has the same
components with changed signs, transposed or not, so all eight variants come from one transform.

The sums run in the order of the reference, in single precision, without BLAS: codes equal the reference's bit for bit
given the same luma, on every processor, however many pictures are signed at once.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from videonovelty.records import PDQ_BYTES, U8

PDQ_SIDE = 64
"""Width and height of the luma picture PDQ looks at."""

DIHEDRAL: tuple[str, ...] = (
    "original",
    "rotate90",
    "rotate180",
    "rotate270",
    "flip_vertical",
    "flip_horizontal",
    "transpose",
    "antitranspose",
)
"""The eight variants, in the reference's order. Rotations are counter-clockwise (`np.rot90`); `flip_vertical` turns the
picture upside down, `flip_horizontal` swaps left and right, `transpose` is the flip about the main diagonal."""
MIRRORED: npt.NDArray[np.bool_] = np.array([False] * 4 + [True] * 4)
"""Shape (8,): the variant reverses handedness."""
INVERSE: npt.NDArray[np.int64] = np.array([0, 3, 2, 1, 4, 5, 6, 7])
"""Shape (8,): the variant that undoes each variant."""

_KEPT = 16
_SCALE = np.float64(np.float32(math.sqrt(2.0 / PDQ_SIDE)))
# Component i (1 … 16) of sample k, transposed so that the sum over k is the outermost loop of both passes.
_DCT: npt.NDArray[np.float32] = np.ascontiguousarray(
    (
        _SCALE
        * np.cos(
            math.pi / 2.0 / PDQ_SIDE * np.arange(1, _KEPT + 1)[None, :] * (2 * np.arange(PDQ_SIDE)[:, None] + 1.0),
        )
    ).astype(np.float32)
)
# Flipping an axis negates its odd DCT components, which are the even rows here because component 0 is left out.
_FLIP = np.where(np.arange(_KEPT) % 2 == 0, -1, 1).astype(np.float32)
_SIGNS = np.stack(
    [np.ones((_KEPT, _KEPT), np.float32), _FLIP[:, None] * np.ones(_KEPT, np.float32), np.ones((_KEPT, 1), np.float32)
     * _FLIP, _FLIP[:, None] * _FLIP]
)  # fmt: skip
# Variant → which of the four sign patterns, and whether it is transposed.
_PATTERN = np.array([0, 2, 3, 1, 1, 2, 0, 3])
_TRANSPOSED = np.array([0, 1, 0, 1, 0, 0, 1, 1])


def pdq(luma: U8) -> tuple[U8, U8]:
    """Return the PDQ codes of all eight variants and the quality of each picture.

    `luma` has shape (n, 64, 64), uint8. The codes have shape (n, 8, 32), uint8, in the bit order of the reference's hex
    digits (component 16,16 first); quality has shape (n,), uint8, 0 … 100, the same for all variants.
    Raises ValueError for any other shape or type.
    """
    if luma.ndim != 3 or luma.shape[1:] != (PDQ_SIDE, PDQ_SIDE) or luma.dtype != np.uint8:
        raise ValueError(f"luma must be (n, {PDQ_SIDE}, {PDQ_SIDE}) uint8, not {luma.shape} {luma.dtype}")
    components = _dct(luma)
    signed = _SIGNS * components[:, None]
    # The reference's median of an even number of values is the lower one.
    lower = _KEPT * _KEPT // 2 - 1
    median = np.partition(signed.reshape(-1, 4, _KEPT * _KEPT), lower, axis=2)[:, :, lower]
    # Transposed patterns have the transposed bits; the reference prints the last bit first.
    bits = signed > median[:, :, None, None]
    patterns = np.stack((bits, bits.transpose(0, 1, 3, 2))).reshape(2, len(luma), 4, _KEPT * _KEPT)[..., ::-1]
    packed = np.packbits(patterns, axis=3)
    return packed[_TRANSPOSED, :, _PATTERN].transpose(1, 0, 2).copy(), _quality(luma)


def to_hex(code: U8) -> str:
    """Return one code, shape (32,), as the 64 hex digits PDQ tools exchange."""
    return code.tobytes().hex()


def from_hex(text: str) -> U8:
    """Return the code, shape (32,), that 64 hex digits stand for. Raises ValueError for anything else."""
    data = bytes.fromhex(text)
    if len(data) != PDQ_BYTES:
        raise ValueError(f"a PDQ code has {2 * PDQ_BYTES} hex digits, not {len(text)}")
    return np.frombuffer(data, np.uint8).copy()


def _dct(luma: U8) -> npt.NDArray[np.float32]:
    # Reducing over the first axis of a C-ordered array adds row after row, which is the reference's order of summation.
    out = np.empty((len(luma), _KEPT, _KEPT), np.float32)
    first = np.empty((PDQ_SIDE, _KEPT, PDQ_SIDE), np.float32)
    second = np.empty((PDQ_SIDE, _KEPT, _KEPT), np.float32)
    for picture, total in zip(luma, out, strict=True):
        np.multiply(_DCT[:, :, None], picture.astype(np.float32)[:, None, :], out=first)
        half = np.ascontiguousarray(np.add.reduce(first, axis=0).T)
        np.multiply(half[:, :, None], _DCT[:, None, :], out=second)
        np.add.reduce(second, axis=0, out=total)
    return out


# A neighbour difference in whole percent of full scale, truncated, as in the reference.
_PERCENT = (np.arange(256) * 100 // 255).astype(np.uint8)


def _quality(luma: U8) -> U8:
    total = np.zeros(len(luma), np.int64)
    for one, other in ((luma[:, 1:], luma[:, :-1]), (luma[:, :, 1:], luma[:, :, :-1])):
        total += _PERCENT[np.maximum(one, other) - np.minimum(one, other)].sum(axis=(1, 2), dtype=np.int64)
    return np.minimum(total // 90, 100).astype(np.uint8)


def negative(codes: U8) -> U8:
    """Return the codes, shape kept, of pictures with inverted colours: each component is on its median's other side."""
    return ~codes
