"""Every report by its name, and what can be asked of it: for programs that ask over HTTP."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from lendsignal.report.slices import EVERY, KEYS, RULES


class Named(Struct, frozen=True, kw_only=True):
    """A report: what it says, whether it can be sliced, and its own words with what each may be."""

    summary: str
    sliced: bool = True
    own: Mapping[str, tuple[str, ...]] = {}
    """Empty: any text."""


DAY = ("a day like 2026-03-10",)
SPAN = ("a span such as 30m or 7d",)
CURRENCY = ("three letters, such as USD",)

REPORTS: Mapping[str, Named] = {
    "funnel": Named(
        summary="How far users get, what each step cost, revenue, loss and return by age of the cohort",
        own={"cohort": ("install", "registration"), "currency": CURRENCY},
    ),
    "bindings": Named(summary="First install against last login, on the same loans", own={"switched": DAY}),
    "installations": Named(summary="Reinstalls and other phones, and which ids outlive them"),
    "devices": Named(
        summary="Phones with the most users, and how the loans on them do", own={"top": ("a number",)}
    ),
    "delivery": Named(summary="What became of every delivery, why, and how long it took"),
    "delay": Named(summary="How long decisions and postings take, and why"),
    "vintages": Named(summary="Loans by when they were paid out: repaid, late, lost, developed to maturity"),
    "tiers": Named(
        summary="Whether each quality tier keeps its share, and what its loans came to",
        own={"what_if": ("shares in per cent, such as 25 or 15,25",)},
    ),
    "attribution": Named(
        summary="Where users came from, as the MMPs say",
        own={"level": ("channel", "media_source", "campaign", "ad_set", "ad")},
    ),
    "spend": Named(summary="What campaigns cost", own={"currency": CURRENCY}),
    "coverage": Named(
        summary="Which ids the active users are known by, and whom each destination could be told of",
        own={"days": ("a number",)},
    ),
    "reconcile": Named(
        summary="What was told and sent beside the lender's books and what platforms recorded",
        own={
            "timezone": ("a name such as Africa/Lagos",),
            "brand": ("a brand of the configuration",),
            "limit": ("a check and per cent, such as missing=0.5 or missing=0.5,late=10",),
            "late_after": SPAN,
            "column": ("what the ledger calls a field, such as loan_id=LoanNo; several between commas",),
            "currency": ("of a ledger that has no column for it, such as USD",),
        },
    ),
    "proxy": Named(
        summary="How well a grant can be told while the review lasts",
        own={"after": SPAN, "within": SPAN, "precision": ("from 0.5 to 0.999",)},
    ),
    "audiences": Named(
        summary="What look-alikes and lists brought, and by holdout what would not have come anyway",
        sliced=False,
        own={"horizon": SPAN, "eligible": ("borrowers", "registered")},
    ),
    "health": Named(
        summary="Counts beside what is expected, the delays of the last day, and what is alarming now",
        sliced=False,
    ),
}
"""What `GET /v1/reports/{name}` gives; `lendsignal report NAME` gives the same, and some more."""

SLICED: Mapping[str, tuple[str, ...]] = {
    "by": KEYS,
    "where": ("KEY=VALUE",),
    "from": DAY,
    "to": DAY,
    "every": EVERY,
    "binding": RULES,
}
"""The words by which every sliced report is sliced; `by` and `where` may stand more than once."""

COMMON: Mapping[str, tuple[str, ...]] = {
    "as_of": ("a moment like 2026-03-10T18:00:00Z",),
    "format": ("json", "csv"),
    "table": ("the name of one of the report's tables",),
}
"""What can be asked of all of them: the moment it is of, and how it is answered."""


def words_of(name: str) -> dict[str, tuple[str, ...]]:
    """Everything that can be asked of a report."""
    named = REPORTS[name]
    return {**(SLICED if named.sliced else {}), **named.own, **COMMON}


def report_paths(problem: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAPI of the reports. They are served with the pages, at another address than events are sent to."""
    found: dict[str, Any] = {
        f"/v1/reports/{name}": {
            "get": {
                "operationId": f"report{name.title()}",
                "summary": named.summary,
                "description": "Served by the role `web`; the key needs the scope `read`.",
                "parameters": [_parameter(word, allowed) for word, allowed in words_of(name).items()],
                "responses": {
                    "200": {
                        "description": "the report: tables with the unit of each column, or one as CSV",
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Report"}},
                            "text/csv": {"schema": {"type": "string"}},
                        },
                    },
                    "400": {"description": "a word that is none: the nearest is told", **problem},
                    "401": {"description": "no API key, or one that is unknown or has ended", **problem},
                    "403": {"description": "the API key lacks the scope `read`", **problem},
                    "503": {"description": "the folder cannot be read now", **problem},
                },
            }
        }
        for name, named in REPORTS.items()
    }
    reconcile = found["/v1/reports/reconcile"]
    reconcile["post"] = {
        **reconcile["get"],
        "operationId": "reconcileLedger",
        "summary": "The same, with the lender's books: a line for each loan that was paid out",
        "requestBody": {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}},
        "responses": {
            **reconcile["get"]["responses"],
            "413": {"description": "a ledger that is too large", **problem},
        },
    }
    return found


def _parameter(word: str, allowed: tuple[str, ...]) -> dict[str, Any]:
    closed = word in ("every", "binding", "format", "cohort", "level")
    schema: dict[str, Any] = {"type": "string", **({"enum": list(allowed)} if closed else {})}
    if word == "by":
        schema = {"type": "array", "items": {"enum": list(allowed)}}
    if word == "where":
        schema = {"type": "array", "items": {"type": "string"}}
    found: dict[str, Any] = {"name": word, "in": "query", "schema": schema}
    return found if closed or word == "by" else {**found, "description": ", ".join(allowed)}


_TEXT = {"type": "string"}

REPORT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["title", "as_of", "tables", "notes"],
    "properties": {
        "title": _TEXT,
        "as_of": {"type": ["string", "null"], "description": "of when it is, RFC 3339 in UTC"},
        "notes": {"type": "array", "items": _TEXT},
        "tables": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["title", "columns", "rows", "note"],
                "properties": {
                    "title": _TEXT,
                    "note": _TEXT,
                    "columns": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "name": _TEXT,
                                "unit": {"enum": ["", "share", "s", "money"]},
                            },
                        },
                    },
                    "rows": {
                        "type": "array",
                        "description": "money is text, so that it stays exact",
                        "items": {"type": "object"},
                    },
                },
            },
        },
    },
}
"""What every report is as JSON; some have single figures beside the tables."""
