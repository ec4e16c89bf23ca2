"""How roles tell what they measured: text for Prometheus, files that grow old, one page of all."""

from pathlib import Path

import pytest
from tests.measured import measured, read

from lendsignal.metrics import (
    FRESH_SECONDS,
    FolderMeters,
    Meters,
    RoleMetrics,
    Words,
    event_word,
    file_of,
    merged,
    told_by,
)


class Steady:
    """Steady seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Kitchen(Meters):
    """Made-up metrics, one of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.eggs = self.counter("lendsignal_eggs_total", "Eggs.", "colour")
        self.heat = self.gauge("lendsignal_heat_degrees", "How hot it is.")
        self.boiled = self.histogram("lendsignal_boiled_seconds", "How long.", (1.0, 5.0), "pot")
        self.looked = 0

    def sample(self) -> None:
        self.looked += 1
        self.heat.set(20.5)


def test_counters_add_and_gauges_tell_only_what_is(tmp_path: Path) -> None:
    kitchen = Kitchen()
    kitchen.eggs.add("brown")
    kitchen.eggs.add("brown", n=2)
    kitchen.eggs.add('white"\n')
    told = read(RoleMetrics("core", tmp_path, [kitchen]).text())

    assert told.value("eggs_total", colour="brown") == 3
    assert told.value("eggs_total", colour='white"\n') == 1
    assert told.value("heat_degrees") == 20.5


def test_whatever_stands_in_a_label_comes_back_as_it_was() -> None:
    """Read by Prometheus' own parser."""
    meters = Meters()
    counter = meters.counter("lendsignal_trials_total", 'Trials\\ of a "word",\nin two lines.', "word")
    words = ['"quoted"', "back\\slash", "two\nlines", "ünï", "{}=,", ""]
    for n, word in enumerate(words, start=1):
        counter.add(word, n=n)
    counter.add("endless", n=float("inf"))
    told = measured(meters)

    assert [told.value("trials_total", word=word) for word in words] == [1, 2, 3, 4, 5, 6]
    assert told.value("trials_total", word="endless") == float("inf")


def test_a_bucket_counts_all_that_took_no_longer_than_its_bound(tmp_path: Path) -> None:
    kitchen = Kitchen()
    for seconds in (0.5, 1.0, 4.0, 9.0):
        kitchen.boiled.of("red").took(seconds)
    told = read(RoleMetrics("core", tmp_path, [kitchen]).text())
    buckets = [told.value("boiled_seconds_bucket", le=le, pot="red") for le in ("1.0", "5.0", "+Inf")]

    assert buckets == [2, 3, 4]
    assert told.value("boiled_seconds_count", pot="red") == 4
    assert told.value("boiled_seconds_sum", pot="red") == 14.5


def test_two_metrics_of_one_name_in_a_role_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lendsignal_eggs"):
        RoleMetrics("core", tmp_path, [Kitchen(), Kitchen()])


def test_a_role_is_heard_of_until_its_file_is_old(tmp_path: Path) -> None:
    steady = Steady()
    RoleMetrics("send", tmp_path, [Kitchen()], steady).write()

    assert "lendsignal_heat_degrees 20.5" in (told_by(tmp_path, "send", steady.now) or "")
    assert told_by(tmp_path, "send", steady.now + FRESH_SECONDS) is not None
    assert told_by(tmp_path, "send", steady.now + FRESH_SECONDS + 0.1) is None
    assert told_by(tmp_path, "web", steady.now) is None


def test_a_file_from_before_the_machine_started_is_old(tmp_path: Path) -> None:
    steady = Steady()
    RoleMetrics("send", tmp_path, (), steady).write()

    assert told_by(tmp_path, "send", now=5.0) is None


def test_a_file_that_is_none_of_ours_tells_nothing(tmp_path: Path) -> None:
    file_of(tmp_path, "send").write_text("lendsignal_heat_degrees 1\n")

    assert told_by(tmp_path, "send", 1_000.0) is None


def test_one_page_tells_every_series_once_and_which_roles_turn(tmp_path: Path) -> None:
    steady = Steady()
    kitchen = Kitchen()
    RoleMetrics("send", tmp_path, [kitchen], steady).write()
    core = RoleMetrics("core", tmp_path, [FolderMeters(tmp_path)], steady)
    told = read(core.page(("core", "send", "web")))

    up = {role: told.value("role_up", role=role) for role in ("core", "send", "web")}
    assert up == {"core": 1, "send": 1, "web": 0}
    assert told.value("heat_degrees") == 20.5
    assert told.value("disk_free_bytes") > 0
    for role in ("core", "send"):
        assert told.value("process_cpu_seconds_total", role=role) > 0


def test_what_a_role_said_before_it_hung_is_not_told_as_if_it_were_now(tmp_path: Path) -> None:
    steady = Steady()
    RoleMetrics("send", tmp_path, [Kitchen()], steady).write()
    core = RoleMetrics("core", tmp_path, (), steady)
    steady.now += FRESH_SECONDS + 1
    told = read(core.page(("core", "send")))

    assert told.value("role_up", role="send") == 0
    assert "lendsignal_heat_degrees" not in told.names()


def test_a_role_that_ended_in_good_order_is_down_at_once(tmp_path: Path) -> None:
    steady = Steady()
    send = RoleMetrics("send", tmp_path, (), steady)
    send.write()
    send.close()

    assert told_by(tmp_path, "send", steady.now) is None


def test_a_loop_measures_every_second_and_not_every_turn(tmp_path: Path) -> None:
    steady, kitchen = Steady(), Kitchen()
    role = RoleMetrics("send", tmp_path, [kitchen], steady)
    for _ in range(40):
        role.tick()
        steady.now += 0.05

    assert kitchen.looked == 2


def test_measuring_that_takes_long_is_done_less_often(tmp_path: Path) -> None:
    steady = Steady()

    class Slow(Meters):
        looked = 0

        def sample(self) -> None:
            self.looked += 1
            steady.now += 0.08  # of 4 seconds that is the share it may take

    slow = Slow()
    role = RoleMetrics("send", tmp_path, [slow], steady)
    for _ in range(40):
        role.tick()
        steady.now += 0.25

    assert slow.looked == 3


def test_what_cannot_be_measured_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Meters):
        def sample(self) -> None:
            raise OSError("no")

    role = RoleMetrics("send", tmp_path, [Broken()])
    role.write()
    role.write()

    assert [record.getMessage() for record in caplog.records] == ["metrics cannot be written: OSError"]
    assert told_by(tmp_path, "send", 0) is None


def test_texts_of_the_same_metric_come_under_one_heading() -> None:
    head = "# HELP lendsignal_x Says # HELP in the middle.\n# TYPE lendsignal_x gauge\n"
    one, two = head + 'lendsignal_x{role="a"} 1.0\n', head + 'lendsignal_x{role="b"} 2.0\n'

    assert merged([one, "", two]) == head + 'lendsignal_x{role="a"} 1.0\nlendsignal_x{role="b"} 2.0\n'


def test_a_label_stays_bounded_whatever_comes() -> None:
    words = Words(most=2)

    assert [words.bounded(word) for word in ("a", "b", "c", "a", "d")] == ["a", "b", "other", "a", "other"]
    assert words.bounded("x" * 65) == "other"


def test_the_types_of_a_lenders_own_are_one() -> None:
    assert event_word("disbursed") == "disbursed"
    assert event_word("quiz_finished") == "custom"
