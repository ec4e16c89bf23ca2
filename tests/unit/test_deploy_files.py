"""The files of deploy/ are what their own tools take, and name what lendsignal truly has."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from lendsignal import __version__
from lendsignal import config as configuration
from lendsignal.role.front import _routes

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = [path for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")) if path.stem != "kustomization"]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
TOOLS = CACHE / "lendsignal-tests" / "tools" / "bin"


def tool(name: str) -> str:
    """A program that checks files; where it is not installed the test is skipped."""
    found = shutil.which(name) or shutil.which(name, path=str(TOOLS))
    if found is None:
        pytest.skip(f"{name} is not installed: tests/servers/install.sh")
    return found


def said(*words: str | Path, code: int = 0, where: Path = ROOT) -> str:
    """What a program prints that ends with that code."""
    found = subprocess.run(words, cwd=where, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == code, found.stdout + found.stderr
    return found.stdout + found.stderr


# docker


def test_the_dockerfile_has_no_finding_of_its_linter() -> None:
    assert said(tool("hadolint"), DEPLOY / "docker" / "Dockerfile") == ""


def test_the_image_runs_as_nobody_and_ships_nothing_that_only_builds() -> None:
    build, final = (DEPLOY / "docker" / "Dockerfile").read_text().split("\nFROM ")[1:]

    assert "pip install" in build
    assert "pip" not in final
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert "VOLUME" in final
    assert not re.search(r"(?i)secret|token|password", final)


def test_the_image_is_built_of_files_that_are_there() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = re.search(r"^COPY (.+) \./$", (DEPLOY / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    assert copied is not None
    for name in [*copied[1].split(), "src"]:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored, name


def test_what_the_image_runs_are_words_that_the_command_knows() -> None:
    command = re.search(r"^CMD (\[\"run.*\])$", (DEPLOY / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    assert command is not None
    verb, *words = json.loads(command[1])

    assert verb == "run"
    assert set(configuration.overrides([word.removeprefix("--set=") for word in words])) == {
        "service.data",
        "door.host",
        "web.host",
    }


# systemd


def test_the_unit_is_well_formed_and_exposes_little() -> None:
    """On systemd's own scale from 0 (locked up) to 10 (open): below 2."""
    analyze, unit = tool("systemd-analyze"), DEPLOY / "systemd" / "lendsignal.service"
    found = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, timeout=60, check=False)
    complaints = [line for line in found.stderr.splitlines() if "is not executable" not in line]

    assert complaints == []
    level = re.search(r"exposure level for \S+: ([\d.]+)", said(analyze, "security", "--offline=true", unit))
    assert level is not None
    assert float(level[1]) < 2


# kubernetes


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_manifest_is_what_kubernetes_takes(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(document, "1.30", strict=True)


def test_the_kustomization_names_every_manifest() -> None:
    named = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["resources"]

    assert sorted(named) == [path.name for path in MANIFESTS]


def container() -> dict[str, Any]:
    found = yaml.safe_load((DEPLOY / "kubernetes" / "stateful-set.yaml").read_text())
    one: dict[str, Any] = found["spec"]["template"]["spec"]["containers"][0]
    return one


def test_the_pod_is_locked_up_and_asked_at_paths_that_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    one = container()
    paths = {one[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    monkeypatch.setattr("lendsignal.role.front.Readiness", lambda *given: None)
    config: Any = None

    assert paths < {route.path for route in _routes(config, config, config)}
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert one["image"] == f"lendsignal:{__version__}"


def test_the_configuration_of_the_pod_can_be_used_and_fits_its_ports_and_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ACME_KEY", "ACME_S2S"):
        monkeypatch.setenv(name, "made-up-and-long-enough-for-a-key")
    found = yaml.safe_load((DEPLOY / "kubernetes" / "configuration.yaml").read_text())
    path = tmp_path / "lendsignal.toml"
    path.write_text(found["data"]["lendsignal.toml"])
    config = configuration.load(path)

    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert ports == {"door": config.door.port, "pages": config.web.port}
    mounted = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    assert config.data.is_relative_to(mounted["data"])


# prometheus and grafana


def known_metrics() -> set[str]:
    """Every metric that the reference has; histograms with the endings that Prometheus gives them."""
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    found = re.findall(r"^\| `(lendsignal_\w+)` \| (\w+)", page, re.MULTILINE)
    endings = ("_bucket", "_sum", "_count")
    return {name for name, _ in found} | {
        name + ending for name, kind in found if kind == "histogram" for ending in endings
    }


def metrics_in(text: str) -> set[str]:
    return set(re.findall(r"\blendsignal_[a-z0-9_]+", text))


def test_alerts_and_dashboard_name_metrics_that_there_are() -> None:
    rules = (DEPLOY / "prometheus" / "alerts.yaml").read_text()
    board = (DEPLOY / "grafana" / "dashboard.json").read_text()

    assert metrics_in(rules) - known_metrics() == set()
    assert metrics_in(board) - known_metrics() == set()


def test_the_alerts_are_those_of_the_page_that_says_what_to_do() -> None:
    page = (ROOT / "docs" / "how-to" / "watch-the-service.md").read_text()
    (block,) = re.findall(r"```yaml\n(groups:.*?)```", page, re.DOTALL)
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())

    assert rules == yaml.safe_load(block)
    for rule in rules["groups"][0]["rules"]:
        assert re.search(rf"^###? .*{rule['alert']}", page, re.MULTILINE), rule["alert"]


def test_the_rules_raise_what_they_should(tmp_path: Path) -> None:
    """promtool runs the rules over made-up series: tests/data/alerts/alerts.test.yaml."""
    for path in (
        DEPLOY / "prometheus" / "alerts.yaml",
        ROOT / "tests" / "data" / "alerts" / "alerts.test.yaml",
    ):
        shutil.copy(path, tmp_path)
    promtool = tool("promtool")

    assert "SUCCESS" in said(promtool, "check", "rules", "alerts.yaml", where=tmp_path)
    assert "SUCCESS" in said(promtool, "test", "rules", "alerts.test.yaml", where=tmp_path)


def test_the_dashboards_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["targets"] for panel in panels if panel["type"] != "row")
