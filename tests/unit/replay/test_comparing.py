"""Two folders beside each other: what differs is found."""

from contextlib import closing
from pathlib import Path

from tests.acme import event, loan, login, source
from tests.clustered import Clock

from lendsignal.decide import Decider
from lendsignal.log import DataFolder, open_deliveries, open_log
from lendsignal.model import Event
from lendsignal.replay.comparing import differences


def folder_of(path: Path, *events: Event) -> DataFolder:
    """A folder that was told these events, and in which nothing was sent yet."""
    folder = DataFolder(path)
    with closing(open_log(folder.log)) as log:
        one = Decider(log, source(), Clock(), lambda: None)
        log.append(events)
        while one.turn():
            pass
    open_deliveries(folder.deliveries).close()
    return folder


EVENTS = (login(0, "a"), loan(1), event("registered", 2), loan(3, "L2"))


def test_what_only_one_folder_has_shows_in_rows_and_reports_and_a_field_that_differs_by_name(
    tmp_path: Path,
) -> None:
    """Numbers of a folder's own are no difference: a user more comes first in one of them."""
    one = folder_of(tmp_path / "one", event("registered", 4, user_id="u2"), *EVENTS)
    two = folder_of(tmp_path / "two", *EVENTS[:-1], loan(3, "L2", product="fast"))

    found = differences(one, two)

    assert (found["events"].rows, found["events"].only_one, found["events"].only_other) == (3, 2, 1)
    assert "product" in found["events"].columns
    assert found["touches"].is_none
    assert found["conversions"].is_none  # the other user's waits for a first login
    assert found["conversions"].rows > 2
    assert not found["funnel"].is_none
