"""Where an installation came from, at each moment: one origin holds until the next begins."""

import duckdb

from lendsignal.report.making import TABLES

COMINGS = ((1, 100, "meta"), (1, 200, "tiktok"), (1, 300, "google"), (2, 150, "kwai"))
"""Installation, moment and channel."""


def origins_at(installation: int, at_us: int) -> list[str]:
    with duckdb.connect(":memory:") as db:
        db.execute(
            "create table attribution as select installation, at_us, channel, 'mmp' as feed,"
            " 'reinstall' as kind, 'id-' || at_us as id, '' as media_source, '' as campaign,"
            " '' as campaign_id, '' as ad_set, '' as ad_set_id, 7 as ad_number"
            f" from (values {', '.join(map(str, COMINGS))}) v(installation, at_us, channel)"
        )
        db.execute(TABLES["origin"])
        found = db.execute(
            "select channel from origin where installation = ? and from_us <= ? and ? < until_us",
            [installation, at_us, at_us],
        ).fetchall()
    return [channel for (channel,) in found]


def test_an_origin_holds_until_the_next_one_begins_and_no_longer() -> None:
    assert origins_at(1, 199) == ["meta"]
    assert origins_at(1, 200) == ["tiktok"]
    assert origins_at(1, 299) == ["tiktok"]
    assert origins_at(1, 10**15) == ["google"]


def test_what_happened_before_an_mmp_noticed_belongs_to_the_first_origin() -> None:
    assert origins_at(1, 1) == ["meta"]
    assert origins_at(2, 1) == ["kwai"]
