"""All reports of a data folder at one moment."""

from msgspec import Struct

from lendsignal.log import DataFolder
from lendsignal.report.bindings import Bindings, bindings
from lendsignal.report.delivery import DeliveryReport, delivery
from lendsignal.report.funnel import Funnel, funnel
from lendsignal.report.slices import Slice
from lendsignal.report.tables import load


class Reports(Struct, frozen=True, kw_only=True):
    """What a page shows: the funnel as a whole and by media source, both bindings, the deliveries."""

    funnel: Funnel
    funnel_by_source: Funnel
    bindings: Bindings
    delivery: DeliveryReport


def all_reports(folder: DataFolder) -> Reports:
    """Every report, from one reading of the folder. Raises `LogError` where a file is damaged."""
    with load(folder) as tables:
        return Reports(
            funnel=funnel(tables),
            funnel_by_source=funnel(tables, Slice(by=("media_source",))),
            bindings=bindings(tables),
            delivery=delivery(tables),
        )
