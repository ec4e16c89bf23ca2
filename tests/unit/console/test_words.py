"""The console in its languages: whole catalogues, one word for one thing, numbers and times."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from docs.catalogue import catalogue, missing, po_of, vocabulary
from tests.browsing import Browser

from lendsignal import config as configuration
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.console import console
from lendsignal.console.app import every_page
from lendsignal.console.filters import filters
from lendsignal.console.reporting import spoken
from lendsignal.console.words import language_of, words_of
from lendsignal.decide import Decider
from lendsignal.log import DataFolder, Stop, open_log
from lendsignal.model import Device, Event, EventType
from lendsignal.model.member import MemberRole
from lendsignal.model.outcome import SkipReason
from lendsignal.report import Report, load
from lendsignal.report.chart import Bars, Lines, Series
from lendsignal.report.charts import charts_of
from lendsignal.report.slices import EVERY, KEYS, slice_of
from lendsignal.role.reports import MAKERS

ROOT = Path(__file__).parents[3]
NOW = datetime.now(UTC) - timedelta(days=2)

CONFIG = """
[portfolio]
name = "acme"

[brand.acme]

[app.acme-android]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"
"""

OURS = frozenset(
    "acme android lendsignal CSV MMP ROAS tROAS PSI LAL Vintage Webhook AppsFlyer Adjust English NGN UTC"
    " pLTV overdue defaulted first_loan kind".split()
)
"""Names, marks and words of the configuration that Chinese keeps as they are."""

ZH = words_of("zh")
EN = words_of("en")


def english(text: str) -> list[str]:
    """Words of three letters and more that no Chinese reader needs to see."""
    return [word for word in re.findall(r"[A-Za-z_]{3,}", text) if word not in OURS]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "lendsignal.toml"
    path.write_text(CONFIG)
    found = configuration.load(path)
    log = open_log(DataFolder(found.data).log)
    decider = Decider(log, found.policy, SystemClock(), lambda: None)
    device = Device(os="android", appsflyer_id="1763712345678-1", gaid="38400000-8cf0-11bd-b23e-10b96e40000d")
    log.append(
        [
            event("registered", 0, device=device, app="acme-android"),
            event("applied", 1, application_id="A1"),
            event("credit_granted", 2, application_id="A1", grant_id="G1", amount=Decimal(20000)),
            event("disbursed", 3, loan_id="L1", amount=Decimal(15000), fee=Decimal(2250), currency="NGN"),
        ]
    )
    while decider.turn():
        continue
    log.close()
    return found


def event(kind: str, minute: int, **facts: object) -> Event:
    at = NOW + timedelta(minutes=minute)
    said = {"type": kind, "brand": "acme", "user_id": "7", "event_id": f"e{minute}", **facts}
    return Event(occurred_at=at, received_at=at, **said)  # type: ignore[arg-type]


@pytest.fixture
def reports(config: Config) -> Iterator[list[Report]]:
    """Every report that a page can ask for, whole and sliced as pages slice them."""
    with load(DataFolder(config.data)) as tables:
        yield [
            maker(config, tables, slice_of(by=by), {})
            for name, maker in MAKERS.items()
            for by in ([], ["channel"], ["campaign"])
            if not (by and name in ("spend", "attribution"))  # they slice by what a cost or a coming tells
        ]


def test_every_text_has_a_translation_with_the_same_names_to_fill_in() -> None:
    assert missing("zh") == []


def test_the_catalogue_holds_just_the_texts_there_are() -> None:
    with po_of("zh").open("rb") as file:
        kept = {message.id for message in read_po(file, locale="zh") if message.id}

    assert kept == {message.id for message in catalogue("zh") if message.id}, "run: python docs/catalogue.py"


def test_no_text_of_a_template_begins_or_ends_with_a_space_which_no_catalogue_has() -> None:
    templates = ROOT / "src" / "lendsignal" / "console" / "templates"
    texts = [
        text
        for path in templates.rglob("*.html")
        for text in re.findall(r"{% trans[^%]*%}(.*?){% endtrans %}", path.read_text(), re.DOTALL)
    ]

    assert len(texts) > 200
    assert [text for text in texts if text != text.strip()] == []


def test_no_word_stands_in_the_vocabulary_twice() -> None:
    words = [word for _, word in vocabulary()]

    assert sorted(words) == sorted(set(words))


def test_every_word_that_pages_show_by_its_name_is_in_the_vocabulary() -> None:
    reasons = (ROOT / "docs" / "reference" / "reasons.md").read_text()
    in_tables = {
        word
        for line in reasons.splitlines()
        if line.startswith("| `")
        for word in re.findall(r"`([a-z][a-z_0-9]*)`", line.split("|")[1])
    }
    named = {*EventType, *SkipReason, *Stop, *MemberRole, *KEYS, *EVERY, *in_tables}

    assert len(in_tables) > 150
    assert sorted(word for word in named if ZH.named(word) == word) == []


def test_titles_columns_and_notes_of_every_report_are_chinese(reports: list[Report]) -> None:
    shape = filters(ZH)
    said = {
        text: shape["heading"](column)
        for report in reports
        for table in report.tables().values()
        for column in table.columns
        for text in (column.name,)
    }
    told = {
        text: ZH.told(text)
        for report in reports
        for text in (
            *(table.title for table in report.tables().values()),
            *(chart.title for chart in charts_of(report)),
            *(chart.axis for chart in charts_of(report)),
        )
    }

    assert len(said) > 100
    assert {text: shown for text, shown in {**said, **told}.items() if english(shown)} == {}


def test_notes_of_every_page_of_a_report_are_chinese(reports: list[Report]) -> None:
    shown = [
        note
        for report in reports
        if type(report).__name__ in ("Funnel", "Bindings", "Delay", "Vintages", "TiersReport")
        for note in (*report.notes, *(table.note for table in report.tables().values()))
    ]

    assert len(shown) > 30
    assert {note: english(ZH.told(note)) for note in shown if english(ZH.told(note))} == {}


class _Chrome(HTMLParser):
    """What a page says beside its data: headings, navigation, forms."""

    TAGS = frozenset({"nav", "h1", "h2", "h3", "th", "summary", "label", "button", "option", "title"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self._open: list[str] = []
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.TAGS or tag in ("pre", "code"):
            self._open.append(tag)
        self.found += [value for name, value in attrs if name in ("placeholder", "aria-label") and value]

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            self._open.reverse()
            self._open.remove(tag)
            self._open.reverse()

    def handle_data(self, data: str) -> None:
        if self._open and not {"pre", "code"} & set(self._open):
            self.found.append(data)


@pytest.mark.parametrize("path", [page.path for page in every_page()])
def test_a_chinese_page_has_no_english_beside_its_data(config: Config, path: str) -> None:
    app = console(config, None, MAKERS)
    visitor = Browser(app, language="zh-CN")
    page = next(page for page in every_page() if page.path == path)
    parts = [path, *(f"{path.rstrip('/')}/panel/{name}" for name in page.panels)]

    left = {
        word for part in parts for text in _Chrome(visitor.get(part).text).found for word in english(text)
    }

    app.state.room.close()
    assert left == set()


@pytest.mark.parametrize(
    ("english_word", "chinese"),
    [
        ("repeat loan", "复贷"),
        ("first loan", "首贷"),
        ("last login", "最后登录"),
        ("first install", "首次安装"),
        ("destination", "回传渠道"),
        ("quarantine", "隔离区"),
        ("reinstall", "卸载重装"),
        ("holdout", "留出组"),
        ("retargeting", "再营销"),
        ("look-alike", "类似受众"),
        ("campaign", "广告系列"),
        ("ad set", "广告组"),
        ("posting delay", "回传延迟"),
        ("decision delay", "审批延迟"),
        ("predicted value", "预测价值"),
        ("budget", "预算"),
        ("overdue", "逾期"),
        ("vintage", "Vintage"),
        ("grant", "授信"),
        ("disbursement", "放款"),
        ("organic", "自然量"),
        ("re-attribution", "再归因"),
        ("paused", "暂停"),
        ("shadow", "影子"),
        ("roas", "ROAS"),
    ],
)
def test_one_thing_has_one_chinese_word(english_word: str, chinese: str) -> None:
    elsewhere = re.compile(
        rf"%\({english_word}\)s|[\[.`]{english_word}"
    )  # to be filled in; of the configuration
    said = {
        str(message.id): str(message.string)
        for message in catalogue("zh")
        if message.id
        and re.search(rf"\b{english_word}s?\b", elsewhere.sub("", str(message.id)), re.IGNORECASE)
    }

    assert said
    other = {text: shown for text, shown in said.items() if chinese not in shown}
    assert other == {}


def test_words_of_other_trades_are_not_used() -> None:
    others = ("目的地", "再贷", "复借", "投递", "登陆", "坏帐", "帐户", "初次安装", "分群")

    said = "\n".join(str(message.string) for message in catalogue("zh"))

    assert [word for word in others if word in said] == []
    assert re.findall(r"(?<!卸载)重装", said) == []


def test_a_word_that_stands_for_itself_is_called_as_people_call_it_and_a_strange_one_is_left() -> None:
    assert (ZH.named("first_loan"), EN.named("first_loan")) == ("首贷", "first_loan")
    assert ZH.named("ng_spring") == "ng_spring"
    assert ZH.named("http_503") == "HTTP 503"


def test_a_report_s_text_is_told_with_its_own_numbers_and_part_by_part() -> None:
    assert ZH.told("1,234 test users left out.") == "已排除 1,234 个测试用户。"
    assert ZH.told("share of loans, with 95 % interval") == "占贷款，含 95% 置信区间"
    assert ZH.told("thin: fewer than 30 users.\nImported history is not judged.") == (
        "样本少：不足 30 人。导入的历史数据不作判断。"
    )
    assert ZH.told("nobody ever wrote this, nor that") == "nobody ever wrote this, nor that"
    assert EN.told("1,234 test users left out.") == "1,234 test users left out."


def test_nothing_said_stays_nothing() -> None:
    assert (ZH(""), ZH.told(""), ZH.named("")) == ("", "", "")


def test_cells_translate_words_of_ours_and_never_a_name_that_people_gave() -> None:
    cell = filters(ZH)["cell"]

    assert cell("repeat_loan", "", "conversion") == "复贷"
    assert cell("default", "", "campaign") == "default"
    assert cell("(not attributed)", "", "channel") == "（未归因）"
    assert filters(EN)["cell"]("repeat_loan", "", "conversion") == "repeat_loan"


def test_a_chart_is_told_in_chinese_and_keeps_the_names_that_people_gave() -> None:
    steps = Bars(
        title="Steps",
        labels=("applied", "disbursed"),
        series=(Series(name="google", values=(1, 2)),),
        axis="users",
    )
    campaigns = Bars(
        title="Loans lost in each tier",
        labels=("default (12 loans)", "ng_spring"),
        series=(Series(name="so far", values=(1, 2)),),
        axis="share of loans",
    )
    lines = Lines(title="Money", at=(0, 1), series=(), across="days since the disbursement", axis="users")

    assert spoken(steps, ZH).labels == ("已申请", "已放款")  # type: ignore[union-attr]
    assert spoken(steps, ZH).series[0].name == "google"
    assert spoken(campaigns, ZH).labels == ("default（12 笔）", "ng_spring")  # type: ignore[union-attr]
    assert spoken(campaigns, ZH).series[0].name == "目前"
    assert spoken(lines, ZH).across == "放款后的天数"  # type: ignore[union-attr]
    assert spoken(campaigns, EN) == campaigns


def test_numbers_shares_and_money_are_written_as_their_readers_write_them() -> None:
    # CLDR: Chinese counts in ten thousands, and says which dollar and which yuan as China does
    assert (EN.short(12_345), ZH.short(12_345)) == ("12.3K", "1.2万")
    assert (EN.number(1_234_567), ZH.number(1_234_567)) == ("1,234,567", "1,234,567")
    assert (EN.number(0.256), ZH.number(0.256)) == ("0.26", "0.26")
    assert (EN.share(0.1234), ZH.share(0.1234)) == ("12.3%", "12.3%")
    assert (EN.money(Decimal("12.5"), "USD"), ZH.money(Decimal("12.5"), "USD")) == ("$12.50", "US$12.50")
    assert (EN.money(Decimal("12.5"), "CNY"), ZH.money(Decimal("12.5"), "CNY")) == ("CN¥12.50", "¥12.50")


def test_moments_days_and_spans_are_written_as_their_readers_write_them() -> None:
    at = datetime(2026, 12, 11, 15, 4, 5, tzinfo=UTC)
    us = round(at.timestamp() * 1e6)

    assert ZH.moment(at) == ZH.moment(us) == "2026年12月11日 15:04:05"
    assert EN.moment(at).replace("\u202f", " ") == "Dec 11, 2026, 3:04:05 PM"
    assert (EN.day("2026-12-11"), ZH.day("2026-12-11")) == ("Dec 11, 2026", "2026年12月11日")
    assert (EN.span(3 * 3600), ZH.span(3 * 3600)) == ("3 hours", "3小时")
    assert (EN.ago(us - 7_200_000_000, us), ZH.ago(us - 7_200_000_000, us)) == ("2 hours ago", "2小时前")


def test_the_first_wish_of_a_language_we_have_counts_and_then_what_the_browser_accepts() -> None:
    assert language_of("zh", "en", accepted="en") == "zh"
    assert language_of("", "zh", accepted="en") == "zh"
    assert language_of("", "", accepted="fr;q=0.9, zh-TW;q=0.8, en;q=0.7") == "zh"
    assert language_of("", "", accepted="fr, de") == "en"
    assert language_of("xx", "zh_CN") == "zh"


def test_a_browser_s_language_is_taken_until_another_is_chosen(config: Config) -> None:
    app = console(config, None, MAKERS)
    visitor = Browser(app, language="zh-CN,zh;q=0.9,en;q=0.8")

    assert "<h1>概览" in visitor.get("/").text
    visitor.post("/taste", {"language": "en"})
    assert "<h1>Overview" in visitor.get("/").text

    app.state.room.close()
