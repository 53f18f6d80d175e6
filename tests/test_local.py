"""Local descriptors: found again after edits, mirrored by permutation, the same on every run."""

import cv2
import numpy as np
import pytest

from videonovelty.errors import EnvironmentUnfitError
from videonovelty.records import KNOWN_POINTS, Frame, Keyframe, best_points
from videonovelty.settings import SignatureSettings
from videonovelty.signatures import (
    MAX_REPEATED_SHARE,
    REFRESH_SECONDS,
    SPACING_SECONDS,
    scheme,
    self_check,
    sign_keyframes,
)
from videonovelty.signatures import built_in as checking
from videonovelty.signatures.local import (
    BITS,
    MIRROR_BINS,
    KeyframeFeatures,
    detect,
    encode,
    local_features,
    no_features,
    projection,
    root_descriptors,
    share_found_again,
)
from videonovelty.tuning.edits import generated_picture, make_edit

SETTINGS = SignatureSettings()


def rgb(seed: int, width: int = 320, height: int = 180) -> np.ndarray:
    return generated_picture(np.random.default_rng(seed), width=width, height=height)


def grey(picture: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))


def keyframe(luma: np.ndarray, seconds: float, shot: int = 0) -> Keyframe:
    def scaled(width: int, height: int) -> np.ndarray:
        return np.asarray(cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA))

    height, width = luma.shape
    frame = Frame(seconds, scaled(64, 36), scaled, lambda: scaled(128, 72), width, height)
    return Keyframe(seconds, seconds, seconds + 0.5, frame, shot)


def test_features_have_their_shapes_and_stay_within_the_number_asked_for() -> None:
    features = local_features(grey(rgb(1)), points=100)
    assert 50 < len(features) <= 100
    assert features.codes.shape == features.mirrored_codes.shape == (len(features), 8)
    assert features.xy.shape == (len(features), 2)
    assert features.xy.dtype == np.uint16
    assert features.scale.dtype == features.angle.dtype == np.uint8
    assert len(np.unique(np.column_stack((features.xy, features.angle)), axis=0)) == len(features)


@pytest.mark.parametrize("picture", [1, 2, 13])
def test_best_points_come_first_whatever_their_number(picture: int) -> None:
    noise = np.random.default_rng(picture).integers(0, 256, (180, 320)).astype(np.uint8)
    luma = noise if picture == 13 else grey(rgb(picture))
    many, few = local_features(luma, points=400), local_features(luma, points=KNOWN_POINTS)
    assert len(few) == min(KNOWN_POINTS, len(many))
    for name in ("codes", "mirrored_codes", "xy", "scale", "angle"):
        assert (getattr(many, name)[: len(few)] == getattr(few, name)).all()


def test_known_videos_keep_the_best_points_of_each_keyframe() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (180, 320)).astype(np.uint8)
    signed = sign_keyframes([keyframe(noise, 0.0), keyframe(grey(rgb(1)), 2.0, 1)], SETTINGS).local
    assert np.diff(signed.offsets)[0] > KNOWN_POINTS
    kept = best_points(signed)
    assert np.diff(kept.offsets).tolist() == np.minimum(np.diff(signed.offsets), KNOWN_POINTS).tolist()
    for i in range(2):
        mine, theirs = (slice(int(of.offsets[i]), int(of.offsets[i + 1])) for of in (kept, signed))
        n = mine.stop - mine.start
        for name in ("codes", "mirrored_codes", "xy", "scale", "angle"):
            assert (getattr(kept, name)[mine] == getattr(signed, name)[theirs][:n]).all()
    assert best_points(kept) is kept


def test_flat_picture_has_no_features() -> None:
    assert len(local_features(np.full((180, 320), 90, np.uint8), points=200)) == 0
    assert no_features().codes.shape == (0, 8)


def test_positions_keep_the_shape_of_the_picture() -> None:
    features = local_features(grey(rgb(2)), points=200)
    assert features.xy[:, 0].max() > 0.9 * 65535
    assert 0.4 * 65535 < features.xy[:, 1].max() <= 65535 * 180 / 320


def test_same_picture_gives_the_same_features_at_any_number_of_threads() -> None:
    luma = grey(rgb(3))
    made = []
    threads = cv2.getNumThreads()
    for n in (1, 2, 4):
        cv2.setNumThreads(n)
        made.append(local_features(luma, points=200))
    cv2.setNumThreads(threads)
    for other in made[1:]:
        assert (made[0].codes == other.codes).all()
        assert (made[0].xy == other.xy).all()


def test_mirrored_codes_are_those_of_the_mirrored_picture() -> None:
    luma = grey(rgb(4))
    features = local_features(luma, points=200)
    mirrored = local_features(np.ascontiguousarray(luma[:, ::-1]), points=200)
    flipped = features.xy.copy()
    flipped[:, 0] = 65535 - flipped[:, 0]
    predicted = KeyframeFeatures(features.mirrored_codes, features.codes, flipped, features.scale, features.angle)
    assert share_found_again(predicted, mirrored) > 0.8
    unflipped = KeyframeFeatures(features.codes, features.codes, flipped, features.scale, features.angle)
    assert share_found_again(unflipped, mirrored) < 0.3


def test_mirroring_twice_changes_nothing() -> None:
    assert (MIRROR_BINS[MIRROR_BINS] == np.arange(128)).all()


@pytest.mark.parametrize("name", ["reencode", "brighten", "contrast", "grey", "gamma", "resize_240"])
def test_most_descriptors_are_found_again_after_an_edit_of_quality(name: str) -> None:
    picture = rgb(5, 640, 360)
    edited = make_edit(name, 1)(picture)
    before, after = (
        local_features(cv2.resize(grey(p), (320, 180), interpolation=cv2.INTER_AREA), points=200)
        for p in (picture, edited)
    )
    assert share_found_again(before, after) > 0.5
    assert share_found_again(before, local_features(grey(rgb(6)), points=200)) < 0.05


def test_lettering_does_not_take_all_points() -> None:
    picture = rgb(7)
    for line in range(3):
        place = (5, 30 + 20 * line)
        cv2.putText(picture, "MANY STRONG LETTERS HERE", place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2)
    xy = detect(grey(picture), points=100)[0]
    assert (xy[:, 1] > 90).sum() >= 25


def test_codes_are_exact_whatever_the_order_of_summation() -> None:
    root = root_descriptors(detect(grey(rgb(8)), points=200)[3])
    used = projection()
    exact = root.astype(np.int64) @ used.directions.astype(np.int64) > used.thresholds.astype(np.int64)
    assert (encode(root, used) == np.packbits(exact, axis=1)).all()
    assert (root == np.rint(root)).all()
    assert 128 * 255 * 127 < 2**24
    assert used.directions.shape == (128, BITS)


@pytest.mark.slow
def test_shipped_projection_is_what_its_script_makes() -> None:
    from videonovelty.tuning.train_projection import descriptors_of, learn, training_pictures

    rng = np.random.default_rng(0)
    directions, thresholds = learn(np.concatenate([descriptors_of(picture, rng) for _, picture in training_pictures()]))
    used = projection()
    # other processors round a few components the other way
    assert np.abs(directions - used.directions).max() <= 1
    assert (directions != used.directions).mean() < 0.05
    assert np.abs(thresholds - used.thresholds).max() <= 0.01 * np.abs(used.thresholds).max()


def test_noise_does_not_make_more_points_than_asked_for() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (320, 320)).astype(np.uint8)
    assert len(local_features(noise, points=200)) <= 200


def test_static_shot_carries_descriptors_at_its_start_and_at_each_refresh() -> None:
    luma = grey(rgb(9))
    times = np.arange(0, 10, 0.5)
    signed = sign_keyframes((keyframe(luma, t) for t in times), SETTINGS)
    bearing = times[np.diff(signed.local.offsets) > 0]
    assert bearing.tolist() == [0.0, REFRESH_SECONDS, 2 * REFRESH_SECONDS]


def test_every_shot_and_every_change_carries_descriptors_of_its_own() -> None:
    pictures = [grey(rgb(n)) for n in (9, 9, 9, 10, 10, 10, 11, 11)]
    shots = [0, 0, 0, 1, 1, 1, 1, 1]
    times = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
    frames = (keyframe(p, t, s) for p, t, s in zip(pictures, times, shots, strict=True))
    bearing = np.diff(sign_keyframes(frames, SETTINGS).local.offsets) > 0
    assert bearing.tolist() == [True, False, False, True, False, False, True, False]
    assert SPACING_SECONDS <= 1.5
    assert 0 < MAX_REPEATED_SHARE < 1


def test_signatures_of_a_keyframe_do_not_depend_on_how_many_are_signed() -> None:
    frames = [keyframe(grey(rgb(n)), float(n), n) for n in range(4)]
    together = sign_keyframes(frames, SETTINGS)
    for n, frame in enumerate(frames):
        alone = sign_keyframes([frame], SETTINGS)
        assert (alone.pdq[0] == together.pdq[n]).all()
        rows = slice(int(together.local.offsets[n]), int(together.local.offsets[n + 1]))
        assert (alone.local.codes == together.local.codes[rows]).all()


def test_borders_give_a_second_code_equal_to_that_of_the_bare_picture() -> None:
    bare = grey(rgb(12, 640, 360))
    boxed = cv2.copyMakeBorder(bare, 60, 60, 0, 0, cv2.BORDER_CONSTANT, value=16)
    signed = sign_keyframes([keyframe(bare, 0.0), keyframe(boxed, 1.0, 1)], SETTINGS)
    assert signed.has_inner.tolist() == [False, True]
    assert (signed.pdq[0] == signed.pdq_inner[0]).all()
    assert int(np.bitwise_count(signed.pdq[0, 0] ^ signed.pdq_inner[1, 0]).sum()) <= 20
    assert int(np.bitwise_count(signed.pdq[0, 0] ^ signed.pdq[1, 0]).sum()) > 40


@pytest.mark.parametrize(
    "luma",
    [
        np.full((180, 320), 60, np.uint8),
        np.repeat(np.repeat(np.array([[235, 210, 170, 145, 106, 81, 41, 16]], np.uint8), 180, 0), 40, 1),
        np.repeat(np.linspace(0, 255, 180)[:, None].astype(np.uint8), 320, 1),
    ],
    ids=["flat", "colour bars", "ramp"],
)
def test_picture_with_nothing_in_it_is_marked_and_carries_no_descriptors(luma: np.ndarray) -> None:
    signed = sign_keyframes([keyframe(luma, 0.0)], SETTINGS)
    assert signed.informative.tolist() == [False]
    assert len(signed.local.codes) == 0
    assert len(signed.pts_seconds) == 1


def test_a_small_thing_in_front_of_colour_bars_is_informative() -> None:
    luma = np.repeat(np.repeat(np.array([[235, 210, 170, 145, 106, 81, 41, 16]], np.uint8), 180, 0), 40, 1)
    luma[60:120, 100:200] = grey(rgb(1))[60:120, 100:200]
    assert sign_keyframes([keyframe(luma, 0.0)], SETTINGS).informative.tolist() == [True]


def test_without_local_descriptors_only_the_codes_are_made() -> None:
    settings = SignatureSettings(local=False)
    signed = sign_keyframes([keyframe(grey(rgb(1)), 0.0)], settings)
    assert len(signed.local.codes) == 0
    assert "sift" not in scheme(settings)


def test_no_keyframes_give_empty_signatures() -> None:
    signed = sign_keyframes([], SETTINGS)
    assert signed.pdq.shape == (0, 8, 32)
    assert signed.local.offsets.tolist() == [0]


def test_scheme_names_every_parameter_that_changes_codes() -> None:
    names = {
        scheme(SignatureSettings(**{key: value}))
        for key, value in (("local", True), ("local", False), ("local_points", 100), ("local_side", 480))
    }
    assert len(names) == 4
    assert projection().sha256[:12] in scheme(SETTINGS)
    assert f"cv{cv2.__version__.split('.')[0]}" in scheme(SETTINGS)


def test_self_check_passes_here() -> None:
    self_check()


@pytest.mark.parametrize("part", ["pdq", "quality", "boxes", "projection", "local"])
def test_self_check_names_what_changed(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = checking.sign_built_in()
    if part == "local":
        codes = made["local"][0]["codes"]
        made["local"][0]["codes"] = codes[: len(codes) // 2] + ["00" * 8] * (len(codes) - len(codes) // 2)
    elif part == "projection":
        made["projection"] = "0" * 64
    else:
        made[part] = made[part][::-1]
    monkeypatch.setattr(checking, "sign_built_in", lambda: made)
    with pytest.raises(EnvironmentUnfitError, match=part):
        checking.self_check()


def test_missing_embedding_model_is_an_unfit_environment() -> None:
    settings = SignatureSettings(embedding_model="/nowhere/model.onnx")
    with pytest.raises(EnvironmentUnfitError, match=r"model\.onnx|onnxruntime"):
        sign_keyframes([keyframe(grey(rgb(1)), 0.0)], settings)
