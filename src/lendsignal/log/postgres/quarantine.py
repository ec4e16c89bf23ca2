"""How long a cluster keeps what its doors refused."""

from datetime import timedelta

from lendsignal.log.postgres.singles import Single

AT_ONCE = 10_000
"""Rows of one transaction: nobody waits long for any of them."""


def forget_refused(single: Single, now_us: int, keep: timedelta) -> int:
    """Deletes what was refused longer ago than that; how many there were."""
    before_us, gone = now_us - keep // timedelta(microseconds=1), 0
    while True:
        with single.transaction() as session:
            n = session.changed(
                "delete from quarantine where id in"
                " (select id from quarantine where received_us < %s order by id limit %s)",
                before_us,
                AT_ONCE,
            )
        gone += n
        if n < AT_ONCE:
            return gone
