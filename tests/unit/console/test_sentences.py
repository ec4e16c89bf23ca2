"""Sentences with names inside, which other rooms write, in Chinese: alarms, reasons, gates, refusals."""

import re
from datetime import timedelta

import pytest

from lendsignal.audience.policy import SPECIAL, UNCONFIRMED
from lendsignal.console.words import words_of
from lendsignal.deliver.expiry import TokenEnd
from lendsignal.errors import ConfigError, InputError, LendsignalError, Problem
from lendsignal.report.explain import WHY
from lendsignal.report.health import (
    DAY_US,
    DELAY_BOUNDS,
    DelayOf,
    Ended,
    Ending,
    Facts,
    Fetched,
    Halted,
    Series,
    Volume,
    alarms,
)
from lendsignal.value.gates import MEANING

NOW = 1_800_000_000_000_000
ZH = words_of("zh")
EN = words_of("en")

NAMED = "acme-ng meta-ng firebase-ng kwai-ng tiktok-ng orders costs lendsignal GB".split()
"""What people named so, and what Chinese keeps."""

COMMAND = re.compile(r"lendsignal [a-z-]+( [a-z-]+)*|docs/\S+|--[a-z]+|https?://\S+|`[^`]*`")


def english(text: str) -> list[str]:
    """Words that no Chinese reader needs to see."""
    plain = COMMAND.sub(" ", text)
    return [word for word in re.findall(r"[A-Za-z_][A-Za-z_-]{2,}", plain) if word not in NAMED]


def counted(what: str, name: str, scope: str, verdict: str) -> Volume:
    series = Series(what=what, name=name, scope=scope, timezone="UTC", slots={})  # type: ignore[arg-type]
    return Volume(
        series=series,
        verdict=verdict,  # type: ignore[arg-type]
        hour=1_234,
        day=5_678,
        quiet_us=26 * 3_600_000_000 if verdict == "silent" else 0,
        expected_hour=4_321.0,
        expected_day=8_765.0,
    )


SLOW = [0] * (len(DELAY_BOUNDS) - 1) + [100, 0]
EVERYTHING = Facts(
    now_us=NOW,
    volumes=[
        counted("event", "disbursed", "acme-ng", "silent"),
        counted("event", "registered", "acme-ng", "low"),
        counted("accepted", "first_loan", "kwai-ng", "high"),
        counted("accepted", "first_loan", "tiktok-ng", "silent"),
        counted("accepted", "repeat_loan", "tiktok-ng", "silent"),
    ],
    delays=[
        DelayOf(stage="arrival", name="acme-ng", bins=SLOW),
        DelayOf(stage="queue", name="meta-ng", bins=SLOW),
    ],
    ended=[Ended(destination="firebase-ng", accepted=90, dead=10)],
    halted=[
        Halted(destination="meta-ng", by="person", reason="by_hand", since_us=NOW),
        Halted(destination="*", by="brake", reason="by_hand", since_us=NOW),
    ],
    endings=[Ending(destination="meta-ng", said="the token of meta-ng ended on 2027-01-01", has_ended=True)],
    quarantined=12_345,
    quarantine_alarming=True,
    pulls=[Fetched(name="orders", since_us=NOW - 3 * DAY_US, trouble="unreachable")],
    feeds=[Fetched(name="costs", since_us=NOW - 2 * DAY_US, trouble="")],
    sender="the sender does not run",
    disk_free=900_000_000,
)


def test_every_alarm_is_told_in_chinese_with_its_own_names_and_numbers() -> None:
    # What is paused everywhere hides what is not delivered: volumes are looked at apart.
    found = [*alarms(EVERYTHING), *alarms(Facts(now_us=NOW, volumes=EVERYTHING.volumes))]
    said = {text: ZH.told(text) for one in found for text in (one.said, one.do)}

    assert {one.kind for one in found} == {
        *("silent", "volume_low", "volume_high", "delay", "dead", "paused"),
        *("token_ends", "quarantine", "pull_silent", "feed_silent", "sender", "disk"),
    }
    assert {text: english(shown) for text, shown in said.items() if english(shown)} == {}


def test_an_alarm_keeps_each_name_and_number_in_its_place() -> None:
    said = (
        "few of disbursed events of acme-ng: 12 in the last hour where some 1,234 are usual,"
        " 56 in 24 hours where some 7,890 are"
    )

    assert ZH.told(said) == "acme-ng 的已放款事件偏少：最近一小时 12，通常约 1,234；24 小时 56，通常约 7,890"
    assert EN.told(said) == said


def test_an_alarm_that_an_end_is_near_tells_the_day() -> None:
    ends = [
        f"the token of meta-ng ends on 2027-01-02, in {left}"
        for left in ("less than a day", "a day", "12 days")
    ]

    assert [english(ZH.told(end)) for end in ends] == [[], [], []]
    assert "12 天" in ZH.told(ends[2])
    assert TokenEnd.told.__doc__


@pytest.mark.parametrize(
    ("said", "chinese"),
    [
        ("the latest login by then, 2 d 3 h before the event", "截至当时的最后登录，在事件之前 2 天 3 小时"),
        ("by the agent, so it is not the user's own phone", "由坐席操作，不是用户自己的手机"),
        ("5 min 20 s older, another installation", "早 5 分 20 秒，另一安装"),
        ("duplicate: it changed nothing", "重复：未产生任何变化"),
    ],
)
def test_why_a_login_was_chosen_or_not_is_told(said: str, chinese: str) -> None:
    assert ZH.told(said) == chinese


def test_what_became_of_an_event_gates_and_refusals_of_lists_are_told() -> None:
    texts = [*WHY.values(), *MEANING.values(), UNCONFIRMED]
    texts += [f"{one.says} (US, CA; {one.source})" for one in SPECIAL.values()]
    texts += ["its trial failed (ranks, bias)", "not tried: nobody is followed for 90 days and settled yet"]

    assert {text: english(ZH.told(text)) for text in texts if english(ZH.told(text))} == {}


def test_a_refusal_names_the_field_and_says_the_rule_in_the_reader_s_language() -> None:
    refused = InputError("source", "one of backend, crm", nearest="backend")

    assert ZH.error(refused) == "source: 可选：backend, crm 是否想写 backend？"
    assert EN.error(refused) == str(refused)
    assert ZH.error(LendsignalError("the rehearsal took longer than 300 s: use lendsignal plan")) == (
        "预演超过 300 秒：请使用 lendsignal plan"
    )


def test_mistakes_of_a_configuration_are_told_one_a_line() -> None:
    error = ConfigError([Problem("door.port", "0", "a port"), Problem("web.port", "1", "a port")])

    assert EN.error(error).splitlines() == [
        "door.port: 0; allowed: a port",
        "web.port: 1; allowed: a port",
    ]


def test_a_text_of_people_is_no_sentence_of_ours() -> None:
    for text in ("we met at noon", "three events of a kind, all of them ours", "a (b)"):
        assert ZH.told(text) == text


def test_spans_of_any_length_are_chinese() -> None:
    from lendsignal.report.health import span

    for minutes in (0, 5, 60, 61, 24 * 60, 49 * 60 + 1):
        assert english(ZH.told(span(timedelta(minutes=minutes) // timedelta(microseconds=1)))) == []


@pytest.mark.parametrize(
    ("line", "chinese"),
    [
        (
            "first_credit → firebase-ng: accepted (unconfirmed)",
            "首次授信 → firebase-ng：已接收（仅确认收到）",
        ),
        ("application → meta-ng: waiting", "申请 → meta-ng：等待"),
        ("credit: no route", "授信：没有路由"),
        ("repeat_loan: waits for a first login", "复贷：等待首次登录"),
    ],
)
def test_what_became_of_an_event_is_chinese_in_a_timeline(line: str, chinese: str) -> None:
    assert ZH.told(line) == chinese
    assert EN.told(line) == line
