"""PDQ: the reference's codes bit for bit, and its dihedral variants from one transform."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from golden.regenerate_pdq import pictures
from hypothesis import given, settings
from hypothesis import strategies as st

from videonovelty.signatures.pdq import DIHEDRAL, INVERSE, MIRRORED, from_hex, pdq, to_hex

GOLDEN = json.loads((Path(__file__).parent / "golden" / "pdq.json").read_text())
TURNS = {
    "original": lambda p: p,
    "rotate90": np.rot90,
    "rotate180": lambda p: np.rot90(p, 2),
    "rotate270": lambda p: np.rot90(p, 3),
    "flip_vertical": np.flipud,
    "flip_horizontal": np.fliplr,
    "transpose": np.transpose,
    "antitranspose": lambda p: np.rot90(p, 2).T,
}


def distance(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.bitwise_count(one ^ other).sum())


def smooth(seed: int, sigma: float = 3.0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (64, 64)).astype(np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), sigma), None, 0, 255, cv2.NORM_MINMAX)


def test_codes_and_quality_equal_those_the_reference_implementation_gave() -> None:
    codes, quality = pdq(pictures())
    assert [[to_hex(code) for code in variants] for variants in codes] == [p["codes"] for p in GOLDEN]
    assert quality.tolist() == [p["quality"] for p in GOLDEN]


def test_installed_reference_agrees_bit_for_bit() -> None:
    pdqhash = pytest.importorskip("pdqhash", reason="the reference implementation is not installed")
    for number in range(60):
        picture = smooth(number, 0.5 + number % 6)
        codes, quality = pdq(picture[None])
        rgb = np.repeat(picture[:, :, None], 3, axis=2)
        expected, expected_quality = pdqhash.compute_dihedral(rgb)
        assert quality[0] == expected_quality
        assert [np.unpackbits(c).tolist() for c in codes[0]] == [np.asarray(e).tolist() for e in expected]


@pytest.mark.parametrize("variant", range(8))
def test_variant_is_the_code_of_the_turned_picture(variant: int) -> None:
    for seed in range(5):
        picture = smooth(seed)
        turned = np.ascontiguousarray(TURNS[DIHEDRAL[variant]](picture))
        expected = pdq(turned[None])[0][0, 0]
        # turning first changes the order of the sums: a component equal to the median may fall on its other side
        assert distance(pdq(picture[None])[0][0, variant], expected) <= 2


def test_inverse_undoes_and_mirrored_says_which_variants_reverse_handedness() -> None:
    picture = smooth(1)
    for variant, name in enumerate(DIHEDRAL):
        there = np.asarray(TURNS[name](picture))
        assert (np.asarray(TURNS[DIHEDRAL[INVERSE[variant]]](there)) == picture).all()
        corner = np.zeros((3, 3))
        corner[0, 0], corner[0, 2] = 1, 2  # handedness: clockwise from 1 comes 2
        turned = np.asarray(TURNS[name](corner))
        ring = [turned[i] for i in ((0, 0), (0, 2), (2, 2), (2, 0))]
        clockwise = ring[(ring.index(1) + 1) % 4] == 2
        assert clockwise != MIRRORED[variant]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 7))
def test_a_code_does_not_depend_on_what_else_is_signed_with_it(seed: int, n: int) -> None:
    batch = np.random.default_rng(seed).integers(0, 256, (n, 64, 64)).astype(np.uint8)
    codes, quality = pdq(batch)
    for i in range(n):
        alone, alone_quality = pdq(batch[i : i + 1])
        assert (alone[0] == codes[i]).all()
        assert alone_quality[0] == quality[i]


def test_half_of_the_bits_are_set_in_a_picture_with_detail() -> None:
    assert np.bitwise_count(pdq(smooth(3)[None])[0][0]).sum(axis=1).tolist() == [128] * 8


def test_brightness_and_contrast_hardly_move_a_code_and_other_pictures_are_far() -> None:
    picture = smooth(4)
    code = pdq(picture[None])[0][0, 0]
    dimmed = (picture * 0.6 + 40).astype(np.uint8)
    assert distance(code, pdq(dimmed[None])[0][0, 0]) <= 4
    assert distance(code, pdq(smooth(5)[None])[0][0, 0]) > 90


def test_flat_picture_has_no_quality() -> None:
    codes, quality = pdq(np.full((1, 64, 64), 77, np.uint8))
    assert quality[0] == 0
    assert codes.shape == (1, 8, 32)


def test_no_pictures_give_no_codes() -> None:
    codes, quality = pdq(np.zeros((0, 64, 64), np.uint8))
    assert codes.shape == (0, 8, 32)
    assert quality.shape == (0,)


@pytest.mark.parametrize("luma", [np.zeros((64, 64), np.uint8), np.zeros((1, 32, 64), np.uint8), np.zeros((1, 64, 64))])
def test_other_shapes_and_types_are_refused(luma: np.ndarray) -> None:
    with pytest.raises(ValueError, match="luma must be"):
        pdq(luma)


@given(st.binary(min_size=32, max_size=32))
def test_hex_there_and_back(data: bytes) -> None:
    code = np.frombuffer(data, np.uint8)
    assert (from_hex(to_hex(code)) == code).all()
    assert len(to_hex(code)) == 64


@pytest.mark.parametrize("text", ["", "ab", "zz" * 32, "00" * 33])
def test_hex_of_another_length_or_alphabet_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"hex|fromhex"):
        from_hex(text)
