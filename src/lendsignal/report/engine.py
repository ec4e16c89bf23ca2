"""The engines that can answer what reports ask."""

from enum import StrEnum


class Engine(StrEnum):
    """Who answers."""

    DUCKDB = "duckdb"
    CLICKHOUSE = "clickhouse"
