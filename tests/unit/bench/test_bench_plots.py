"""Pictures and tables are made from the JSON of runs, the same from the same."""

from pathlib import Path

import msgspec

from lendsignal.bench.backlog import Backlog
from lendsignal.bench.fan import Fan, Fanned
from lendsignal.bench.growth import Growth, Sample, Step
from lendsignal.bench.isolation import NEIGHBOURS, Beside, Isolation
from lendsignal.bench.machine import Machine
from lendsignal.bench.measure import Figures
from lendsignal.bench.plots import draw
from lendsignal.bench.publish import MARK, publish
from lendsignal.bench.targets import judged

MACHINE = Machine(cores=2, load_before=0.1, fsync_ms=0.2)
DELAYS = {"p50": 2.0, "p90": 3.0, "p99": 9.0}
ROLES = {"core": 40.0, "send": 90.0, "web": 70.0}

BENCH = Figures(
    accepted_single_per_s=5_000.0,
    accepted_batch_per_s=26_000.0,
    decided_per_s=25_500.0,
    end_to_end_per_s=8_100.0,
    end_to_end_single_per_s=5_100.0,
    deliveries_per_event=2.0,
    deliveries_per_s=16_200.0,
    accept_to_sent_ms=DELAYS,
    durable_answer_ms=DELAYS,
    cpu_us_per_event=150.0,
    cpu_us_per_event_by_role=ROLES,
    bytes_per_event=700.0,
    peak_rss_mib=200.0,
    peak_rss_by_role_mib=ROLES,
    idle_mib=90.0,
    idle_rss_mib=110.0,
    idle_rss_by_role_mib=ROLES,
    encode_and_classify_us={"adjust": 6.2, "appsflyer": 7.7},
    peers={"load_tool_to_bare_sink_requests_per_s": 60_000.0, "celery_redis_requests": "not measured"},
    ratios={"deliveries_to_bare_sink": 0.27},
    machine=MACHINE,
)
GROWTH = Growth(
    events=4_000,
    users=400,
    deliveries=2,
    steps=[
        Step(events=2_000, users=200, per_s=8_000.0, core_us=40.0, send_us=80.0),
        Step(events=4_000, users=400, per_s=7_900.0, core_us=41.0, send_us=81.0),
    ],
    cost_ratio=1.02,
    samples=[
        Sample(events=1_000 * n, users=100 * n, per_s=8_000.0, cpu_us=ROLES, rss_mib=ROLES, disk_mib=1.0)
        for n in range(1, 5)
    ],
    machine=MACHINE,
)
FAN = Fan(
    events=100,
    runs=[
        Fanned(
            deliveries_per_event=n,
            events_per_s=9_000.0 / n,
            deliveries_per_s=9_000.0,
            cpu_us_per_event=60.0 * n,
            cpu_us_per_delivery=60.0,
        )
        for n in (1, 2, 3)
    ],
    machine=MACHINE,
)
BACKLOG = Backlog(
    deliveries=5_000_000,
    decided_per_s=20_000.0,
    read_per_s=30_000.0,
    reading_peak_rss_mib=150.0,
    waiting_rss_mib=170.0,
    waiting_rss_by_role_mib=ROLES,
    start_up_seconds=1.5,
    status_seconds=0.01,
    first_sent_seconds=0.3,
    sent_per_s=9_000.0,
    peak_rss_mib=210.0,
    peak_rss_by_role_mib=ROLES,
    disk_bytes_per_delivery=700.0,
    machine=MACHINE,
)
ISOLATION = Isolation(
    events_per_s=4_000.0,
    most_events_per_s=5_000.0,
    seconds=30,
    runs=[Beside(neighbour=one, accept_to_sent_ms=DELAYS, hung=0) for one in NEIGHBOURS],
    p99_to_missing=1.0,
    p99_to_answering=1.0,
    machine=MACHINE,
)
RUNS = {"bench": BENCH, "growth": GROWTH, "fan": FAN, "backlog": BACKLOG, "isolation": ISOLATION}


def test_every_run_has_its_pictures_and_the_same_run_gives_the_same_file(tmp_path: Path) -> None:
    for name, run in RUNS.items():
        (tmp_path / f"{name}.json").write_bytes(msgspec.json.encode(run))

    first = {path.name: path.read_bytes() for path in draw(tmp_path, tmp_path / "pictures")}
    again = {path.name: path.read_bytes() for path in draw(tmp_path, tmp_path / "pictures")}

    assert sorted(first) == [
        "backlog.svg", "encoding.svg", "fan.svg", "growth.svg", "isolation.svg", "peers.svg",
    ]  # fmt: skip
    assert all(b"<svg" in body for body in first.values())
    assert first == again


def test_a_run_that_is_missing_has_no_picture(tmp_path: Path) -> None:
    (tmp_path / "fan.json").write_bytes(msgspec.json.encode(FAN))

    assert [path.name for path in draw(tmp_path, tmp_path / "pictures", "png")] == ["fan.png"]


def test_a_peer_that_was_not_measured_leaves_the_others_in_the_picture(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_bytes(msgspec.json.encode(BENCH))

    drawn = draw(tmp_path, tmp_path / "pictures")

    assert [path.stem for path in drawn] == ["peers", "encoding"]


def test_the_page_keeps_what_is_written_by_hand_and_links_every_picture(tmp_path: Path) -> None:
    runs, reference = tmp_path / "runs", tmp_path / "reference"
    runs.mkdir()
    reference.mkdir()
    (reference / "performance.md").write_text(f"# By hand\n\n{MARK}\n\nold\n")
    whole = msgspec.structs.replace(BENCH, targets=judged(BENCH))
    for name, run in (RUNS | {"bench": whole}).items():
        (runs / f"{name}.json").write_bytes(msgspec.json.encode(run))

    publish(runs, reference)
    text = (reference / "performance.md").read_text()
    again = publish(reference / "pictures", reference)

    assert text.startswith(f"# By hand\n\n{MARK}\n\n## ")
    assert "\n\nold\n" not in text
    pictures = [f"pictures/{path.name}" for path in again if path.suffix == ".svg"]
    assert len(pictures) == 6
    assert all(f"({picture})" in text and (reference / picture).exists() for picture in pictures)
    assert "| end to end, two requests an event, batches in | 8,100 events/s | ≥ 8,000 | yes |" in text
    assert "| celery redis requests | not measured |" in text
    assert (reference / "performance.md").read_text() == text
