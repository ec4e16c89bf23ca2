"""What the record says: funnels, first install against last login, deliveries, one event's life."""

from lendsignal.report.bindings import Bindings, bindings
from lendsignal.report.delivery import DeliveryReport, delivery
from lendsignal.report.explain import Render, explain
from lendsignal.report.funnel import Funnel, funnel
from lendsignal.report.layout import Column, Report, Table
from lendsignal.report.life import Explanation
from lendsignal.report.reports import Reports, all_reports
from lendsignal.report.tables import Tables, load

__all__ = [
    "Bindings",
    "Column",
    "DeliveryReport",
    "Explanation",
    "Funnel",
    "Render",
    "Report",
    "Reports",
    "Table",
    "Tables",
    "all_reports",
    "bindings",
    "delivery",
    "explain",
    "funnel",
    "load",
]
