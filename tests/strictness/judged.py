"""How many mutants of each destination's request its stand-in refuses, and the table of it."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct
from tests.contract import destination_exam as exam
from tests.strictness.message import Message, asked, taken_apart
from tests.strictness.mutants import MUTATIONS, NOW, Mutator, Sheet
from tests.strictness.sheets import SHEETS

from lendsignal.clock import to_us
from lendsignal.deliver.wire import FETCHED_TOKEN, wire
from lendsignal.destination import registry
from lendsignal.destination.spec import hosts_of
from lendsignal.model import Device, Skip
from lendsignal.sandbox import (
    Answer,
    Asked,
    GoogleAccount,
    Memory,
    MetaDataset,
    SandboxSettings,
    adjust,
    appsflyer,
    branch,
    ga4,
    google_ads,
    google_app,
    google_data_manager,
    kochava,
    kwai,
    meta,
    singular,
    snap,
    tiktok,
    webhook,
)
from lendsignal.sandbox.order import Latest

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "sandbox.md"
MARK = "<!-- From here to the end of the table it is written by `python -m tests.strictness`. -->"

SECRET = "whsec_bWFkZS11cC1zZWNyZXQtb2YtMjQtYnl0ZXM="
"""The secret of every account here; a webhook's has this form."""

APPS = (exam.ANDROID, exam.IOS)
SETTINGS = SandboxSettings(
    adjust={"4w565xzmb54d": SECRET},
    appsflyer={app.bundle: SECRET for app in APPS},
    branch={"acme": SECRET},
    ga4={"1:1234567890:android:0a1b2c3d4e5f6a7b": SECRET},
    google_ads={
        "4445556666": GoogleAccount(token=SECRET, developer_token=SECRET, actions=frozenset({"987654321"}))
    },
    google_app={"0123456789ABCDEF0123456789ABCDEF": SECRET},
    kochava={"acme": SECRET},
    kwai={"270123456789012": SECRET},
    meta={"1234567890123456": MetaDataset(token=SECRET)},
    singular={app.identifier: SECRET for app in APPS},
    snap={"0b61a2f4-5c7d-4e19-9f3a-8d2e6b7c1405": SECRET},
    tiktok={"7300000000000000001": SECRET},
    webhooks={"hooks.acme.example": SECRET},
)


def valid(kind: str, sheet: Sheet) -> Message:
    """The destination's request of a delivery with every fact, with its secret."""
    module = registry()[kind]
    chosen = msgspec.structs.replace(exam.example_settings(module), **sheet.settings)
    device: Device = msgspec.structs.replace(exam.delivery_for(module).device, gclid="EXAMPLE_GCLID")
    item = module.encode(exam.delivery_for(module, name=sheet.name, device=device), chosen)
    assert not isinstance(item, Skip)
    secrets: dict[str, str | None] = dict.fromkeys(module.Settings.__struct_fields__, SECRET)
    secrets |= {"app_secret": None, FETCHED_TOKEN: SECRET}
    hosts = hosts_of(module.SPEC, chosen)
    request = module.request([item], chosen)
    return taken_apart(wire(request, module.SPEC.auth, secrets, hosts=hosts, sandbox=None, now_us=to_us(NOW)))


def judge_of(host: str, memory: Memory) -> Callable[[Asked, SandboxSettings, int], Answer]:
    """A stand-in that has seen nothing yet but what the memory holds."""
    judges: dict[str, Callable[[Asked, SandboxSettings, int], Answer]] = {
        adjust.HOST: partial(adjust.judge, Latest()),
        **dict.fromkeys(appsflyer.HOSTS, appsflyer.judge),
        branch.HOST: branch.judge,
        **dict.fromkeys(ga4.HOSTS, ga4.judge),
        google_ads.HOST: partial(google_ads.judge, memory.has),
        google_app.HOST: google_app.judge,
        google_data_manager.HOST: partial(google_data_manager.judge, memory.has),
        kochava.HOST: kochava.judge,
        kwai.HOST: kwai.judge,
        meta.HOST: meta.judge,
        singular.HOST: partial(singular.judge, Latest()),
        snap.HOST: snap.judge,
        tiktok.HOST: tiktok.judge,
        "hooks.acme.example": webhook.judge,
    }
    return judges[host]


def is_kept(answer: Answer) -> bool:
    """Whether anything of it is there afterwards: a yes that records nothing keeps nothing."""
    return any(taken.recorded for taken in answer.taken)


class Row(Struct, frozen=True):
    """How strict one stand-in is: mutants and those refused, by kind, and the labels of those taken."""

    kind: str
    made: Mapping[str, int]
    refused: Mapping[str, int]
    taken: tuple[str, ...]

    @property
    def share(self) -> float:
        """The refused share of all."""
        return sum(self.refused.values()) / sum(self.made.values())


def row_of(kind: str) -> Row:
    """Every mutant of one destination's request, asked of a stand-in that has seen nothing else."""
    sheet = SHEETS[kind]
    message = valid(kind, sheet)
    made: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    taken: list[str] = []
    assert is_kept_by_a_fresh_one(message), f"{kind}: its own request is refused"
    for mutation, mutants in MUTATIONS.items():
        for label, mutant in mutants(Mutator(message, sheet)):
            made[mutation] += 1
            if is_kept_by_a_fresh_one(mutant):
                taken.append(label)
            else:
                refused[mutation] += 1
    if sheet.once:
        made["repeat"] += 1
        refused["repeat"] += is_told_twice(message)
    return Row(kind, made, refused, tuple(taken))


def is_kept_by_a_fresh_one(message: Message) -> bool:
    with closing(Memory()) as memory:
        return is_kept(judge_of(message.host, memory)(asked(message), SETTINGS, to_us(NOW)))


def is_told_twice(message: Message) -> bool:
    """Whether the stand-in refuses the very same request a second time."""
    with closing(Memory()) as memory:
        judge = judge_of(message.host, memory)
        memory.keep(judge(asked(message), SETTINGS, to_us(NOW)))
        return not is_kept(judge(asked(message), SETTINGS, to_us(NOW)))


def table() -> str:
    """Destination × kind of mutation: refused of made, and the share of all."""
    kinds = [*MUTATIONS, "repeat"]
    lines = [f"| destination | {' | '.join(kinds)} | refused |", "| --- " * (len(kinds) + 2) + "|"]
    for kind in SHEETS:
        row = row_of(kind)
        cells = [f"{row.refused[each]} of {row.made[each]}" if row.made[each] else "–" for each in kinds]
        lines.append(f"| `{kind}` | {' | '.join(cells)} | {row.share:.1%} |")
    return "\n".join(lines)


def page() -> str:
    """The reference page with the table as it is now."""
    head, _, rest = PAGE.read_text().partition(MARK)
    tail = rest.strip("\n").partition("\n\n")[2]
    return f"{head}{MARK}\n\n{table()}\n\n{tail}\n"
