"""What the record says: funnels, first install against last login, deliveries, one event's life.

`vintages` and `grants` are imported by their modules' names: they reckon with numpy.
"""

from lendsignal.report.arrivals import InstallationsReport, installations
from lendsignal.report.attribution import AttributionReport, attribution
from lendsignal.report.bindings import Bindings, bindings
from lendsignal.report.coverage import Coverage, Known, Reach, coverage
from lendsignal.report.delay import Delay, delay
from lendsignal.report.delivery import DeliveryReport, delivery
from lendsignal.report.devices import Devices, devices
from lendsignal.report.explain import Render, explain
from lendsignal.report.funnel import Funnel, funnel
from lendsignal.report.layout import Column, Report, Table
from lendsignal.report.ledger import Paid, read_ledger
from lendsignal.report.life import Explanation
from lendsignal.report.reconcile import Limits, Reconciliation, reconcile
from lendsignal.report.reports import Reports, all_reports
from lendsignal.report.spend import SpendReport, spend
from lendsignal.report.tables import Tables, load

__all__ = [
    "AttributionReport",
    "Bindings",
    "Column",
    "Coverage",
    "Delay",
    "DeliveryReport",
    "Devices",
    "Explanation",
    "Funnel",
    "InstallationsReport",
    "Known",
    "Limits",
    "Paid",
    "Reach",
    "Reconciliation",
    "Render",
    "Report",
    "Reports",
    "SpendReport",
    "Table",
    "Tables",
    "all_reports",
    "attribution",
    "bindings",
    "coverage",
    "delay",
    "delivery",
    "devices",
    "explain",
    "funnel",
    "installations",
    "load",
    "read_ledger",
    "reconcile",
    "spend",
]
