"""The units people copy: each is checked by its own tool, where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from pipelines.nightly import main
from videonovelty.settings import load_settings

DEPLOY = Path(__file__).parents[2] / "pipelines" / "deploy"
SERVICE, TIMER = "videonovelty-nightly.service", "videonovelty-nightly.timer"


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed here")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with paths that exist here."""
    (tmp_path / TIMER).write_text((DEPLOY / TIMER).read_text())
    text = (DEPLOY / SERVICE).read_text()
    text = text.replace("/opt/videonovelty/.venv/bin/python", sys.executable)
    (tmp_path / SERVICE).write_text(text.replace("/opt/videonovelty", str(tmp_path)))
    return tmp_path


@needs("systemd-analyze")
def test_systemd_accepts_service_and_timer_without_a_word(units: Path) -> None:
    ran = subprocess.run(
        ["systemd-analyze", "verify", units / SERVICE, units / TIMER], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, [line for line in ran.stderr.splitlines() if "videonovelty" in line]) == (0, [])


@needs("systemd-analyze")
def test_the_service_is_hardened(units: Path) -> None:
    ran = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", units / SERVICE],
        capture_output=True,
        text=True,
        check=False,
    )
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", ran.stdout)
    if exposure is None:
        pytest.skip("this systemd does not judge units that are not loaded")
    assert float(exposure[1]) <= 1.5


@needs("kubectl")
def test_the_manifests_make_one_consistent_whole() -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", DEPLOY / "kubernetes"], capture_output=True, text=True, check=True
    ).stdout
    check_manifests([one for one in yaml.safe_load_all(built) if one])


def test_the_manifests_are_private_and_restricted() -> None:
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    found = [one for path in files for one in yaml.safe_load_all(path.read_text()) if one["kind"] != "Kustomization"]
    check_manifests(found)
    named = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    assert {path.name for path in files} == {*named, "kustomization.yaml"}


def check_manifests(found: list[dict]) -> None:
    pods = []
    for one in found:
        if one["kind"] == "Deployment":
            pods.append(one["spec"]["template"])
            assert one["spec"]["selector"]["matchLabels"].items() <= pods[-1]["metadata"]["labels"].items()
        if one["kind"] == "CronJob":
            pods.append(one["spec"]["jobTemplate"]["spec"]["template"])
            assert one["spec"]["concurrencyPolicy"] == "Forbid"
    assert len(pods) == 3
    claims = {one["metadata"]["name"] for one in found if one["kind"] == "PersistentVolumeClaim"}
    for pod in pods:
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["automountServiceAccountToken"] is False
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"]["drop"] == ["ALL"]
            for mount in container["volumeMounts"]:
                claim = volumes[mount["name"]].get("persistentVolumeClaim")
                assert claim is None or claim["claimName"] in claims
                assert mount["mountPath"] != "/intake" or mount["readOnly"]
    assert any(one["kind"] == "NetworkPolicy" for one in found)


def test_the_settings_in_the_manifests_load() -> None:
    path = DEPLOY / "kubernetes" / "nightly.toml"
    assert load_settings(path).nightly.intake
    assert set(tomllib.loads(path.read_text())["nightly"]) == {"intake", "store", "runs"}


def test_options_the_units_use_exist(tmp_path: Path) -> None:
    config = tmp_path / "empty.toml"
    config.write_text("")
    texts = [(DEPLOY / name).read_text() for name in ("slurm-nightly.sh", "kubernetes/nightly.yaml", "README.md")]
    after = [text.split("pipelines.nightly", 1)[1] for text in texts]
    options = {option for text in after for option in re.findall(r"--(?:scheduler|tls-\w+-file|flagged-ok)", text)}
    assert len(options) == 5
    given = [option if option == "--flagged-ok" else f"{option}=x" for option in sorted(options)]
    assert main([str(config), *given]) == 2  # no intake is named; the options were understood


@needs("bash")
def test_the_slurm_script_parses() -> None:
    subprocess.run(["bash", "-n", DEPLOY / "slurm-nightly.sh"], check=True)


def test_the_container_file_follows_the_rules() -> None:
    """What a linter would ask: pinned bases, hashes, no root, no cache, one instruction a line that is known."""
    text = re.sub(r"\\\n", " ", (DEPLOY / "Containerfile").read_text())
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    known = {"FROM", "RUN", "COPY", "WORKDIR", "ENV", "USER", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert {word for word, _ in lines} <= known
    assert all(re.search(r":\d[\w.]*-\w+", rest) for word, rest in lines if word == "FROM")
    assert [rest for word, rest in lines if word == "USER"] == ["10001:10001"]
    installs = [rest for word, rest in lines if word == "RUN" and "pip install" in rest]
    assert all("--no-cache-dir" in rest and ("--require-hashes" in rest or "--no-index" in rest) for rest in installs)
    root = DEPLOY.parents[1]
    for word, rest in lines:
        if word == "COPY" and "--from" not in rest:
            assert all((root / source).exists() for source in rest.split()[:-1]), rest
    assert lines[-1][0] == "CMD"
