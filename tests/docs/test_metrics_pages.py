"""The pages about metrics: the list is the code's, and every rule and query asks for what there is."""

import re
from pathlib import Path

import pytest
from docs.generate import meters

from lendsignal.metrics import Counter, Gauge, Histogram
from lendsignal.source.meters import RULES

DOCS = Path(__file__).parents[2] / "docs"
METRICS = [one for group in meters().values() for part in group for one in part.all]
LABELS = {label for one in METRICS for label in one.family.labels}


def page(name: str) -> str:
    return (DOCS / name).read_text()


def samples() -> dict[str, set[str]]:
    """Every sample that a query may name, with the labels that it has."""
    found: dict[str, set[str]] = {}
    for one in METRICS:
        family = one.family
        labels = set(family.labels)
        if isinstance(one, Histogram):
            found |= {f"{family.name}_{end}": labels for end in ("count", "sum")}
            found[f"{family.name}_bucket"] = labels | {"le"}
        else:
            found[family.name] = labels
    return found


SAMPLES = samples()
RULES_FILE = next(
    text
    for text in re.findall(r"^```yaml\n(.*?)^```$", page("how-to/watch-the-service.md"), re.S | re.M)
    if text.startswith("groups:")
)
ALERTS = dict(
    re.findall(
        r"^      - alert: (\w+)\n        expr: (?:>-\n)?(.*?)(?=^        (?:for|labels):)",
        RULES_FILE,
        re.S | re.M,
    )
)
QUERIES = re.findall(r"`([^`]*lendsignal_[^`]*)`", page("how-to/watch-the-service.md"))


def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    documented = re.findall(r"^\| `(lendsignal_\w+)` \|", page("reference/metrics.md"), re.M)

    assert len(documented) == len(set(documented))
    assert set(documented) == {one.family.name for one in METRICS}
    assert len(documented) > 35


def test_every_label_is_documented() -> None:
    text = page("reference/metrics.md").partition("## ")[0]

    assert [label for label in sorted(LABELS) if f"`{label}`" not in text] == []
    assert [word for word, _ in RULES if f"`{word}`" not in text] == []


@pytest.mark.parametrize("one", METRICS, ids=lambda one: one.family.name)
def test_a_name_says_its_unit_and_its_kind(one: Counter | Gauge | Histogram) -> None:
    name = one.family.name

    assert re.fullmatch(r"lendsignal_[a-z][a-z_]*[a-z]", name)
    assert name.endswith("_total") == isinstance(one, Counter)
    assert name.endswith("_seconds") or not isinstance(one, Histogram)


def test_the_file_of_rules_has_the_alerts_that_the_page_explains() -> None:
    text = page("how-to/watch-the-service.md").partition("## What to do")[2]
    explained = {word for line in re.findall(r"^### (.+)$", text, re.M) for word in line.split(", ")}

    assert set(ALERTS) == explained
    assert RULES_FILE.count("- alert:") == len(ALERTS) >= 10
    for part in re.split(r"^      - alert: ", RULES_FILE, flags=re.M)[1:]:
        keys = re.findall(r"^        (\w+):", part, re.M)
        assert [key for key in keys if key != "for"] == ["expr", "labels", "annotations"], part


@pytest.mark.parametrize("query", [*ALERTS.values(), *QUERIES])
def test_a_rule_asks_for_metrics_and_labels_that_there_are(query: str) -> None:
    for name, selected in re.findall(r"\b(lendsignal_\w+)(?:\{([^}]*)\})?", query):
        assert name in SAMPLES
        assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", selected)) <= SAMPLES[name]
    asked = {word for part in re.findall(r"\bby \(([^)]*)\)", query) for word in part.split(", ")}
    assert asked <= LABELS | {"le"}
    assert query.count("(") == query.count(")")
    assert query.count("{") == query.count("}")


@pytest.mark.parametrize("name", ALERTS)
def test_what_an_alert_says_uses_labels_that_it_has(name: str) -> None:
    said = RULES_FILE.partition(f"- alert: {name}\n")[2].partition("- alert:")[0]
    kept = re.findall(r"\bby \(([^)]*)\)", ALERTS[name])
    metrics = re.findall(r"\b(lendsignal_\w+)", ALERTS[name])
    labels = set(kept[0].split(", ")) if kept else set().union(*(SAMPLES[metric] for metric in metrics[:1]))

    assert set(re.findall(r"\$labels\.(\w+)", said)) <= labels
