"""Settings: precedence, unknown keys, and every sample file."""

from pathlib import Path

import pytest

from videonovelty.errors import SettingsError
from videonovelty.settings import Settings, load_settings

SAMPLES = sorted((Path(__file__).parents[1] / "sample_config").glob("*.toml"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_sample_config_loads(path: Path) -> None:
    settings = load_settings(path)
    assert settings.signing_fingerprint() == Settings().signing_fingerprint()


def test_nightly_sample_names_every_key() -> None:
    text = (Path(__file__).parents[1] / "sample_config" / "nightly.toml").read_text()
    for table, field in Settings.model_fields.items():
        if table in ("enrol", "tune", "evidence"):  # in samples of their own; the last is written by `tune`
            continue
        assert f"[{table}]" in text
        section = text.split(f"[{table}]")[1].split("\n[")[0]
        for key in field.annotation.model_fields:  # type: ignore[union-attr]
            assert f"\n{key} = " in section, f"{table}.{key}"


def test_tune_sample_names_every_key_of_its_table() -> None:
    text = (Path(__file__).parents[1] / "sample_config" / "tune.toml").read_text()
    for key in Settings.model_fields["tune"].annotation.model_fields:  # type: ignore[union-attr]
        assert f"\n{key} = " in text, key


def test_unknown_key_is_an_error_that_names_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("[matching]\nradius_bitz = 31\n")
    with pytest.raises(SettingsError, match=r"wrong\.toml: matching\.radius_bitz: unknown key"):
        load_settings(path)


def test_value_out_of_range_names_the_key(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("[verdict]\nmax_unseen_seconds = -1\n")
    with pytest.raises(SettingsError, match=r"verdict\.max_unseen_seconds"):
        load_settings(path)


def test_missing_and_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: no such settings file"):
        load_settings(tmp_path / "nowhere.toml")
    (tmp_path / "broken.toml").write_text("[run\n")
    with pytest.raises(SettingsError, match=r"broken\.toml: not readable as TOML"):
        load_settings(tmp_path / "broken.toml")


def test_command_line_beats_environment_beats_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "some.toml"
    path.write_text("[run]\nworkers = 3\nwindow_per_worker = 5\n")
    assert load_settings(path).run.workers == 3
    monkeypatch.setenv("VIDEONOVELTY_RUN__WORKERS", "7")
    assert load_settings(path).run.workers == 7
    assert load_settings(path, run={"workers": 1}).run.workers == 1
    assert load_settings(path, run={"workers": 1}).run.window_per_worker == 5


def test_fingerprint_changes_with_what_shapes_signatures_only() -> None:
    plain = load_settings()
    assert load_settings(None, keyframes={"grid_seconds": 0.25}).signing_fingerprint() != plain.signing_fingerprint()
    assert load_settings(None, matching={"radius_bits": 20}).signing_fingerprint() == plain.signing_fingerprint()
