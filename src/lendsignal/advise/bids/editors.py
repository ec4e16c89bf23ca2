"""Accepted steps as the CSV that the platforms' own bulk editors take.

Google: the heads are those that Google Ads Editor recognises, capital letters and spaces aside; an empty
field changes nothing. https://support.google.com/google-ads/editor/answer/57747 and, for targets,
https://support.google.com/google-ads/editor/answer/94241, read 2026-11-22.

Meta: the heads of the spreadsheet that Ads Manager exports and takes back, which names what is edited by
"Campaign ID". Meta has no public page of them: they were read in public copies of its template, 2026-11-22;
compare them with an export of your own account before the first upload.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

Editor = Literal["google", "meta"]

HEADS: Mapping[Editor, tuple[str, ...]] = {
    "google": (
        "Campaign",
        "Campaign ID",
        "Campaign daily budget",
        "Target CPA",
        "Target ROAS",
        "Campaign status",
    ),
    "meta": ("Campaign ID", "Campaign Name", "Campaign Status", "Campaign Daily Budget"),
}


def editor_csv(editor: Editor, proposals: Sequence[Mapping[str, Any]], *, targets: bool = False) -> str:
    """The editor's file of the proposals of its channel; heads alone where there are none.

    Amounts are in the currency of the proposals, which must be the account's. `targets`: Google's target CPA
    and target ROAS as well, for campaigns that bid by them.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADS[editor])
    for one in proposals:
        if one["channel"] == editor:
            writer.writerow(_google(one, targets) if editor == "google" else _meta(one))
    return out.getvalue()


def _google(one: Mapping[str, Any], targets: bool) -> tuple[str, ...]:
    cpa, roas = one["target_cpa"], one["target_roas"]
    return (
        one["campaign"],
        one["campaign_id"],
        "" if one["pause"] else f"{one['proposed']:.2f}",
        f"{cpa:.2f}" if targets and cpa is not None and not one["pause"] else "",
        f"{roas:.2%}" if targets and roas is not None and not one["pause"] else "",
        "Paused" if one["pause"] else "",
    )


def _meta(one: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        one["campaign_id"],
        one["campaign"],
        "PAUSED" if one["pause"] else "",
        "" if one["pause"] else f"{one['proposed']:.2f}",
    )
