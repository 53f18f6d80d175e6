"""A planted transform is found with its places, chance is not, and the answer is the same every time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videonovelty.matching.geometry import MIN_INLIERS, GeometricMatch, verify
from videonovelty.matching.pair_kernels import (
    DISTINCT,
    TOLERANCE,
    distinct_places,
    nearest_two,
    similarity_of,
    with_perspective,
    within_bits,
)

ASPECT = 16 / 9


def codes(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, 256, (n, 8)).astype(np.uint8)


def noisy(rng: np.random.Generator, clean: np.ndarray, bits: int) -> np.ndarray:
    flips = np.zeros((len(clean), 64), np.uint8)
    for row in flips:
        row[rng.choice(64, bits, replace=False)] = 1
    return clean ^ np.packbits(flips, axis=1)


def planted(
    seed: int, n: int, *, zoom: float = 1.0, turn: float = 0.0, strangers: int = 60, mirrored: bool = False
) -> dict[str, np.ndarray]:
    """Return a query of which `n` points lie in the known picture, scaled by `zoom` and turned, among strangers."""
    rng = np.random.default_rng(seed)
    known_xy = rng.uniform(0.05, 0.5, (n + strangers, 2))
    known_codes = codes(rng, n + strangers)
    middle = np.array([0.3, 0.27])
    c, s = np.cos(turn), np.sin(turn)
    moved = (known_xy[:n] - middle) @ np.array([[c, s], [-s, c]]) * zoom + middle
    query_xy = np.concatenate((moved, rng.uniform(0.05, 0.5, (strangers, 2))))
    known_angle = rng.integers(0, 256, n + strangers)
    known_scale = rng.integers(20, 40, n + strangers)
    query_angle = (
        np.concatenate((known_angle[:n] + round(turn / (2 * np.pi) * 256), rng.integers(0, 256, strangers))) % 256
    )
    query_scale = np.concatenate((known_scale[:n] + round(8 * np.log2(zoom)), rng.integers(20, 40, strangers)))
    if mirrored:
        query_xy[:, 0] = 0.6 - query_xy[:, 0]
        query_angle = (128 - query_angle) % 256
    return {
        "query_codes": np.concatenate((noisy(rng, known_codes[:n], 6), codes(rng, strangers))),
        "query_xy": np.clip(query_xy * 65535, 0, 65535).astype(np.uint16),
        "known_codes": known_codes,
        "known_xy": (known_xy * 65535).astype(np.uint16),
        "query_scale": query_scale.astype(np.uint8),
        "query_angle": query_angle.astype(np.uint8),
        "known_scale": known_scale.astype(np.uint8),
        "known_angle": known_angle.astype(np.uint8),
    }


def look(parts: dict[str, np.ndarray], *, own: bool = True, mirrored: bool = False) -> GeometricMatch | None:
    places = [parts[k] for k in ("query_codes", "query_xy", "known_codes", "known_xy")]
    rest = {k: v for k, v in parts.items() if k.endswith(("scale", "angle"))} if own else {}
    return verify(*places, ASPECT, mirrored=mirrored, **rest)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(12, 60),
    st.floats(0.3, 1.1),
    st.floats(-np.pi, np.pi),
    st.booleans(),
)
def test_planted_similarity_is_found(seed: int, n: int, zoom: float, turn: float, own: bool) -> None:
    found = look(planted(seed, n, zoom=zoom, turn=turn), own=own)
    assert found is not None
    assert found.inliers >= 0.6 * n
    # points that leave the picture stand at its edge, and the transform that most agree on may take some of them along
    scale = float(np.hypot(found.transform[0, 0], found.transform[1, 0]))
    assert scale == pytest.approx(1 / zoom, rel=0.1)
    angle = float(np.arctan2(found.transform[1, 0], found.transform[0, 0]))
    assert abs((angle + turn + np.pi) % (2 * np.pi) - np.pi) < 0.1


def test_transform_takes_query_places_to_known_places() -> None:
    parts = planted(3, 40, zoom=0.5, turn=0.4)
    found = look(parts)
    assert found is not None
    query = parts["query_xy"][:40] / 65535
    mapped = query @ found.transform[:, :2].T + found.transform[:, 2]
    assert np.abs(mapped - parts["known_xy"][:40] / 65535).max() < 0.01


@pytest.mark.parametrize("own", [False, True])
def test_mirrored_picture_is_found_only_when_asked_for(own: bool) -> None:
    parts = planted(4, 40, mirrored=True)
    plain = look(parts, own=own)
    # a strip of the picture looks nearly the same mirrored, unless its own angles are asked
    assert plain is None or (not own and plain.inliers <= 10)
    found = look(parts, own=own, mirrored=True)
    assert found is not None
    assert found.inliers >= 30


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_strangers_are_never_verified(seed: int) -> None:
    assert look(planted(seed, 0, strangers=200)) is None


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_same_codes_at_random_places_are_not_verified(seed: int) -> None:
    parts = planted(seed, 30, strangers=0)
    rng = np.random.default_rng(seed + 1)
    parts["query_xy"] = rng.integers(0, 36000, parts["query_xy"].shape).astype(np.uint16)
    parts["query_angle"] = rng.integers(0, 256, 30).astype(np.uint8)
    found = look(parts)
    assert found is None or found.inliers <= MIN_INLIERS + 1


def test_pairs_turned_otherwise_than_the_picture_do_not_count() -> None:
    parts = planted(5, 40)
    parts["query_angle"] = ((parts["query_angle"].astype(int) + 100) % 256).astype(np.uint8)
    assert look(parts, own=True) is None
    assert look(parts, own=False) is not None


def test_repeated_texture_on_one_spot_is_one_inlier() -> None:
    parts = planted(6, 30, strangers=0)
    parts["query_xy"][:] = parts["query_xy"][0] + np.arange(60).reshape(30, 2) % 5
    parts["known_xy"][:] = parts["known_xy"][0] + np.arange(60).reshape(30, 2) % 5
    assert look(parts, own=False) is None


def test_answer_is_the_same_every_time_and_in_any_order_of_the_known_side() -> None:
    parts = planted(7, 40, zoom=0.7, turn=1.0)
    first, again = look(parts), look(parts)
    assert first is not None
    assert again is not None
    assert first.inliers == again.inliers
    assert (first.transform == again.transform).all()
    order = np.random.default_rng(0).permutation(len(parts["known_codes"]))
    shuffled = {k: v[order] if k.startswith("known") else v for k, v in parts.items()}
    other = look(shuffled)
    assert other is not None
    assert abs(other.inliers - first.inliers) <= 2


def test_spatial_share_is_the_hull_of_the_inliers_over_the_query_picture() -> None:
    parts = planted(8, 60, zoom=0.5)
    found = look(parts)
    assert found is not None
    places = parts["query_xy"][:60] / 65535
    box = np.prod(places.max(axis=0) - places.min(axis=0))
    assert found.spatial_share == pytest.approx(box * ASPECT, rel=0.25)
    assert 0 < found.spatial_share < 1
    upright = verify(*(parts[k] for k in ("query_codes", "query_xy", "known_codes", "known_xy")), 1 / ASPECT)
    assert upright is not None
    assert upright.spatial_share == pytest.approx(found.spatial_share, rel=0.1)


def test_slight_perspective_keeps_most_pairs() -> None:
    parts = planted(9, 60)
    places = parts["query_xy"][:60] / 65535
    tilted = places / (1 + 0.25 * places[:, :1])
    parts["query_xy"][:60] = (tilted * 65535).astype(np.uint16)
    found = look(parts)
    assert found is not None
    assert found.inliers >= 40


@pytest.mark.parametrize(("n_query", "n_known"), [(0, 0), (0, 50), (50, 0), (50, 1), (3, 50)])
def test_too_few_descriptors_give_no_match(n_query: int, n_known: int) -> None:
    rng = np.random.default_rng(0)
    xy = rng.integers(0, 65536, (50, 2)).astype(np.uint16)
    some = codes(rng, 50)
    assert verify(some[:n_query], xy[:n_query], some[:n_known], xy[:n_known], ASPECT) is None


# ---- kernels ---------------------------------------------------------------------------------------------------------


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.bitwise_count(one[:, None] ^ other[None, :])


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(2, 40), st.integers(0, 64))
def test_pairs_are_those_of_the_table_of_distances(seed: int, n: int, m: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    # few words, so that many are equally far
    query, known = (rng.integers(0, 2**64, 4, dtype=np.uint64)[rng.integers(0, 4, count)] for count in (n, m))
    query ^= rng.integers(0, 4, n, dtype=np.uint64)
    table = _distances(query, known)
    one, other, bits = within_bits(query, known, most)
    assert np.array_equal(np.stack((one, other)), np.stack(np.nonzero(table <= most)))
    assert np.array_equal(bits, table[one, other])
    best, nearest, second = nearest_two(query, known)
    assert np.array_equal(best, table.argmin(axis=1))
    ordered = np.sort(table, axis=1)
    assert np.array_equal(nearest, ordered[:, 0]) and np.array_equal(second, ordered[:, 1])


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(6, 60), st.floats(-3.1, 3.1), st.floats(0.2, 4.0))
def test_a_planted_similarity_is_found_among_strangers(seed: int, n: int, turn: float, zoom: float) -> None:
    rng = np.random.default_rng(seed)
    z = rng.random(n) + 1j * rng.random(n)
    a, b = zoom * np.exp(1j * turn), complex(rng.random(), rng.random())
    w = a * z + b
    strangers = n // 2
    z = np.append(z, rng.random(strangers) + 1j * rng.random(strangers))
    w = np.append(w, 5 * zoom * (rng.random(strangers) + 1j * rng.random(strangers)))
    one, other = np.triu_indices(len(z), 1)
    nothing = np.zeros(len(z))
    found_a, found_b, inside, agrees = similarity_of(z, w, nothing, nothing, False, one, other)
    assert agrees.all()
    assert inside[:n].sum() >= n - 1
    assert abs(found_a - a) < 0.1 * zoom and abs(found_b - b) < 0.1 * zoom
    assert (np.abs(found_a * z + found_b - w)[inside] <= TOLERANCE + 1e-9).all()


def test_without_a_sane_couple_nothing_obeys() -> None:
    z, nothing = np.full(5, 0.5 + 0.5j), np.zeros(5)
    one, other = np.triu_indices(5, 1)
    assert not similarity_of(z, z, nothing, nothing, False, one, other)[2].any()


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-0.25, 0.25))
def test_a_slanted_plane_explains_more_pairs_than_a_similarity(seed: int, slant: float) -> None:
    rng = np.random.default_rng(seed)
    query = rng.random((40, 2))
    known = query @ np.array([[1.0, slant], [0.0, 1.0 - abs(slant)]]).T + (0.1, 0.2)
    miss = np.linalg.norm(known - query - (known - query).mean(axis=0), axis=1)
    inside = miss <= np.sort(miss)[12]
    assert with_perspective(query, known, inside, np.ones(40, np.bool_)).all()
    few = np.arange(40) < 5
    assert np.array_equal(with_perspective(query, known, few, np.ones(40, np.bool_)), few)
    flat = np.column_stack((query[:, 0], query[:, 0]))  # all in one line: no plane can be told
    assert np.array_equal(with_perspective(flat, flat, inside, np.ones(40, np.bool_)), inside)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 50))
def test_places_are_told_apart_in_steps(seed: int, n: int) -> None:
    places = np.random.default_rng(seed).random((n, 2)) * 0.1 - 0.05
    cells = np.round(places / DISTINCT)
    assert distinct_places(places) == len(np.unique(cells, axis=0))
