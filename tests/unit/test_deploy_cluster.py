"""The manifests of a cluster are what Kubernetes takes, and name what nodes truly have."""

import re
from pathlib import Path
from typing import Any, cast

import kubernetes_validate
import pytest
import yaml

from lendsignal import __version__
from lendsignal import config as configuration
from lendsignal.role import NODE_ROLES
from lendsignal.role.ingest import _routes
from lendsignal.role.nodepages import Pages

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes" / "cluster"
MANIFESTS = [path for path in sorted(FOLDER.glob("*.yaml")) if path.stem != "kustomization"]
NODES = ("ingest", "work", "send")
DESK = "desk"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text()))


def pod(name: str) -> dict[str, Any]:
    return cast(dict[str, Any], documents(name)[0]["spec"]["template"]["spec"])


def container(name: str) -> dict[str, Any]:
    return cast(dict[str, Any], pod(name)["containers"][0])


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_manifest_of_the_cluster_is_what_kubernetes_takes(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(document, "1.30", strict=True)


def test_the_kustomization_of_the_cluster_names_every_manifest() -> None:
    named = documents("kustomization")[0]["resources"]

    assert sorted(named) == sorted(["../namespace.yaml", *(path.name for path in MANIFESTS)])
    assert (FOLDER / "../namespace.yaml").exists()


@pytest.mark.parametrize("name", [*NODES, DESK, "prepare"])
def test_a_pod_of_the_cluster_is_locked_up(name: str) -> None:
    one = container(name)

    assert one["image"] == f"lendsignal:{__version__}"
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(name)["securityContext"]["runAsNonRoot"] is True


@pytest.mark.parametrize("name", [*NODES, DESK])
def test_a_node_has_roles_that_there_are_and_is_asked_where_it_answers(name: str) -> None:
    one, nothing = container(name), cast(Any, None)
    verb, flag, words = one["args"]
    roles = words.split(",")
    routes = (
        _routes(nothing, nothing, nothing, nothing, nothing)
        if "ingest" in roles
        else Pages(cast(Any, Nowhere()), nothing, nothing, nothing, nothing).routes()
    )

    assert (verb, flag) == ("run", "--role")
    assert set(roles) <= set(NODE_ROLES)
    assert name in roles
    asked = {one[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    assert asked <= {route.path for route in routes}
    assert {one[f"{probe}Probe"]["httpGet"]["port"] for probe in ("startup", "liveness", "readiness")} == {
        port["name"] for port in one["ports"]
    }


class Nowhere:
    """A configuration whose data folder is not looked at."""

    data = Path("/tmp")


@pytest.mark.parametrize("name", NODES)
def test_of_each_kind_one_pod_may_go_and_another_is_there(name: str) -> None:
    budgets = {one["metadata"]["name"]: one["spec"] for one in documents("disruption-budgets")}
    labels = documents(name)[0]["spec"]["selector"]["matchLabels"]

    assert budgets[f"lendsignal-{name}"]["selector"]["matchLabels"] == labels
    assert budgets[f"lendsignal-{name}"]["maxUnavailable"] == 1
    assert documents(name)[0]["spec"]["replicas"] >= 2


def test_the_configuration_of_the_nodes_can_be_used_and_fits_their_ports_and_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ACME_KEY", "ACME_S2S"):
        monkeypatch.setenv(name, "made-up-and-long-enough-for-a-key")
    monkeypatch.setenv("LENDSIGNAL_STORE", "postgresql://db.acme.example/signals?sslmode=verify-full")
    path = tmp_path / "lendsignal.toml"
    path.write_text(documents("configuration")[0]["data"]["lendsignal.toml"])
    config = configuration.load(path)

    assert config.store is not None
    assert config.warnings == ()
    ports = {"ingest": config.door.port, "work": config.web.port, "send": config.web.port}
    for name, port in {**ports, DESK: config.web.port}.items():
        assert [one["containerPort"] for one in container(name)["ports"]] == [port]
        mounted = {mount["name"]: mount["mountPath"] for mount in container(name)["volumeMounts"]}
        assert config.data.is_relative_to(mounted["node"])


def test_services_find_the_pods_they_speak_of() -> None:
    for service in documents("services"):
        kind = service["spec"]["selector"]["app.kubernetes.io/component"]
        ports = {port["name"] for port in container(kind)["ports"]}

        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


@pytest.mark.parametrize("name", ["ingest", DESK])
def test_what_has_something_of_its_own_keeps_its_disk(name: str) -> None:
    """A door what waits there while the store is away, a desk its people and their audit."""
    (node,) = documents(name)

    assert node["kind"] == "StatefulSet"
    assert node["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    assert [claim["metadata"]["name"] for claim in node["spec"]["volumeClaimTemplates"]] == ["node"]


def test_the_pages_that_people_are_led_to_are_the_desks() -> None:
    (pages,) = [one for one in documents("services") if one["metadata"]["name"] == "lendsignal-pages"]
    (desk,) = documents(DESK)

    assert pages["spec"]["selector"] == desk["spec"]["selector"]["matchLabels"]
    assert desk["spec"]["serviceName"] == "lendsignal-pages"
    assert desk["spec"]["replicas"] == 1


def test_no_manifest_holds_a_secret() -> None:
    for path in MANIFESTS:
        assert not re.search(r"postgresql://[^ ]*:[^…@]+@", path.read_text()), path.name
