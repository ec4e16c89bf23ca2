"""What is measured, read back as Prometheus reads it: a sample by its name and its labels in any order."""

from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from lendsignal.metrics import Meters

Labels = frozenset[tuple[str, str]]


class Told:
    """The samples of a page. One that stands twice, or a metric of two headings, is a mistake."""

    def __init__(self, samples: Mapping[tuple[str, Labels], float]) -> None:
        self._samples = samples

    def value(self, name: str, **labels: str) -> float:
        """The sample with just these labels; 0 where there is none."""
        return self._samples.get((f"lendsignal_{name}", frozenset(labels.items())), 0)

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples that have at least these labels."""
        wanted = set(labels.items())
        return sum(
            n for (one, has), n in self._samples.items() if one == f"lendsignal_{name}" and wanted <= has
        )

    def labels(self, name: str, label: str) -> set[str]:
        """Every value that a label of a metric has."""
        return {dict(has)[label] for (one, has) in self._samples if one == f"lendsignal_{name}"}

    def names(self) -> set[str]:
        """The names of all samples."""
        return {name for name, _ in self._samples}


def read(text: str) -> Told:
    """A page as it was answered."""
    found: dict[tuple[str, Labels], float] = {}
    headings: set[str] = set()
    for family in text_string_to_metric_families(text):
        assert family.name not in headings, f"{family.name} has two headings"
        headings.add(family.name)
        _add(family, found)
    return Told(found)


def measured(*meters: Meters) -> Told:
    """What these tell now."""
    return read("".join(one.text() for one in meters))


def _add(family: Any, found: dict[tuple[str, Labels], float]) -> None:
    for sample in family.samples:
        key = (sample.name, frozenset(sample.labels.items()))
        assert key not in found, f"{key} stands twice"
        found[key] = sample.value
