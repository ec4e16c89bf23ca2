"""The page of a cluster's node, as HTML, in English and in Chinese.

The console's catalogue is not loaded for it: a node without a desk has no console.
"""

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence

from starlette.responses import HTMLResponse, Response

from lendsignal.log.postgres.desks import Desk
from lendsignal.role.cluster import ClusterStatus

STYLE = (
    ":root{color-scheme:light dark;--ink:#1d2a2b;--back:#f4f4f2;--card:#fff;--edge:#ddd;--wrong:#a3261d;"
    "--link:#175c5f}@media(prefers-color-scheme:dark){:root{--ink:#e6eaea;--back:#141819;--card:#1d2324;"
    "--edge:#39423f;--wrong:#ff9a90;--link:#7fd0d3}}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:var(--ink);background:var(--back);overflow-wrap:anywhere}"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin:0 0 .5rem}a{color:var(--link)}"
    "section{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:1rem 1.2rem;"
    "margin:1rem 0}section>:last-child{margin-bottom:0}ul{padding-left:1.2rem}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.2rem 1.5rem .2rem 0;vertical-align:top}"
    "th{font-weight:500}.wrong{color:var(--wrong);font-weight:600}"
)

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

NOT_HERE = (
    "This is not on this node: console, reports and lists are at a desk, which keeps a copy of the store.",
    "What is here: how the cluster stands, /v1/status, /v1/events/{{id}}, /metrics.",
)

CHINESE: Mapping[str, str] = {
    "Nothing is left to do.": "全部处理完毕。",
    "It works.": "正在处理。",
    "Log": "日志",
    "events decided": "已判定事件",
    "events that wait": "待判定事件",
    "read by the senders": "发送端已读取",
    "all": "全部",
    "not all yet": "尚未全部",
    "nodes alive": "存活节点",
    "none": "无",
    "work": "判定",
    "send": "发送",
    "slots without a holder": "无人负责的分片",
    "nobody decides {n} of {slots}": "{slots} 个分片中有 {n} 个无人判定",
    "nobody sends {n} of {slots}": "{slots} 个分片中有 {n} 个无人发送",
    "Destinations": "回传渠道",
    "waiting": "等待",
    "claimed": "发送中",
    "held": "挂起",
    "pending": "待平台确认",
    "nothing": "无",
    "PAUSED: {reason}": "已暂停：{reason}",
    "Console and reports": "控制台与报表",
    "No desk runs now: lendsignal run --role desk,web": "现在没有运行 desk：lendsignal run --role desk,web",
    "The cluster of {lender}": "{lender} 的集群",
    "The store does not answer": "存储没有响应",
    "Not on this node": "不在此节点",
    "How the cluster stands": "集群状态",
    "This is not on this node: console, reports and lists are at a desk, which keeps a copy of the store.": (
        "此节点没有这一页：控制台、报表与人群名单都在 desk 节点上，那里保存一份存储的副本。"
    ),
    "What is here: how the cluster stands, /v1/status, /v1/events/{{id}}, /metrics.": (
        "这里有：集群状态、/v1/status、/v1/events/{{id}}、/metrics。"
    ),
}


class Spoken:
    """One language. `tag` is its name in HTML."""

    def __init__(self, tag: str, texts: Mapping[str, str]) -> None:
        self.tag = tag
        self._texts = texts

    def __call__(self, text: str, **named: object) -> str:
        """The text in this language, with what is named in it; one that is not known stays as it is."""
        return self._texts.get(text, text).format(**named)


ENGLISH = Spoken("en", {})


def spoken_to(accepted: str) -> Spoken:
    """The language that a browser asks for first, of those that there are (Accept-Language)."""
    offered = [part.partition(";")[0].strip().lower() for part in accepted.split(",")]
    first = next((tag for tag in offered if tag.startswith(("zh", "en"))), "en")
    return Spoken("zh-Hans", CHINESE) if first.startswith("zh") else ENGLISH


def how_it_stands(spoken: Spoken, now: ClusterStatus) -> Iterator[str]:
    """How a cluster stands."""
    nodes = ", ".join(f"{n} {spoken(kind)}" for kind, n in sorted(now.nodes.items()))
    yield f"<p>{spoken('Nothing is left to do.' if now.idle else 'It works.')}</p>"
    yield f"<section><h2>{spoken('Log')}</h2><table>"
    yield _row(spoken("events decided"), f"{now.decided:,}")
    yield _row(spoken("events that wait"), f"{now.events - now.decided:,}")
    yield _row(spoken("read by the senders"), spoken("all" if now.read_by_sender else "not all yet"))
    yield _row(spoken("nodes alive"), nodes or spoken("none"))
    for kind, n in now.unheld.items():
        if n:
            nobody = "nobody decides {n} of {slots}" if kind == "work" else "nobody sends {n} of {slots}"
            yield _row(spoken("slots without a holder"), spoken(nobody, n=n, slots=now.slots), is_wrong=True)
    yield "</table></section>"
    if now.waiting or now.paused:
        yield f"<section><h2>{spoken('Destinations')}</h2><table>"
        for name in sorted({*now.waiting, *now.paused}):
            counts = [f"{n:,} {spoken(stage)}" for stage, n in now.waiting.get(name, {}).items() if n]
            if name in now.paused:
                counts.append(spoken("PAUSED: {reason}", reason=now.paused[name]))
            yield _row(name, ", ".join(counts) or spoken("nothing"), is_wrong=name in now.paused)
        yield "</table></section>"


def what_is_here(spoken: Spoken, desks: Sequence[Desk], path: str) -> Iterator[str]:
    """In place of a page that this node does not have; `path` is where a desk has it."""
    yield f"<p>{' '.join(map(spoken, NOT_HERE))}</p>"
    yield from where_desks_are(spoken, desks, path)
    yield f'<p><a href="/">{spoken("How the cluster stands")}</a></p>'


def where_desks_are(spoken: Spoken, desks: Sequence[Desk], path: str = "/") -> Iterator[str]:
    """Links to the pages of a cluster."""
    yield f"<section><h2>{spoken('Console and reports')}</h2>"
    if not desks:
        yield f"<p>{html.escape(named(spoken, desks))}</p>"
    yield "<ul>" if desks else ""
    for one in desks:
        yield f'<li><a href="{html.escape(one.address + path)}">{html.escape(one.address)}</a></li>'
    yield "</ul></section>" if desks else "</section>"


def named(spoken: Spoken, desks: Sequence[Desk]) -> str:
    """Where desks are, in words."""
    if not desks:
        return spoken("No desk runs now: lendsignal run --role desk,web")
    return ", ".join(one.address for one in desks)


def wrong(text: str) -> str:
    """What is wrong, as a paragraph."""
    return f'<p class="wrong">{html.escape(text)}</p>'


def shown(spoken: Spoken, title: str, parts: Iterable[str], status: int = 200) -> Response:
    """A whole page."""
    head = (
        f"<!doctype html><html lang={spoken.tag}><meta charset=utf-8>"
        f"<title>{html.escape(title)} · lendsignal</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
    )
    body = f"<main><h1>{html.escape(title)}</h1>{''.join(parts)}</main>"
    return HTMLResponse(f"{head}<style>{STYLE}</style>{body}</html>", status, headers=HEADERS)


def _row(name: str, value: str, *, is_wrong: bool = False) -> str:
    mark = ' class="wrong"' if is_wrong else ""
    return f"<tr><th scope=row>{html.escape(name)}</th><td{mark}>{html.escape(value)}</td></tr>"
