"""A made-up lender: everything that happened to it, and what is told of it event by event."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from lendsignal.clock import to_us
from lendsignal.model import EventType
from lendsignal.simulate.answers import Answers, answers_of
from lendsignal.simulate.arrivals import KINDS, Events, Fault, events_of
from lendsignal.simulate.chance import Ints
from lendsignal.simulate.installs import Epochs, Installs, installs_of
from lendsignal.simulate.loans import Book, book_of
from lendsignal.simulate.localtime import DAY, LocalTime, day_of
from lendsignal.simulate.parameters import Parameters, checked
from lendsignal.simulate.people import Campaigns, People, campaigns_of, people_of
from lendsignal.simulate.phones import models_of
from lendsignal.simulate.repayments import Payments, payments_of
from lendsignal.simulate.touches import Touches, touches_of

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of all work that is done (0 to 1)."""

Fields = dict[str, Any]
"""An event as the HTTP API takes it: plain JSON values, by name."""

_CHUNK = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """A lender's whole story in columns. `start` and `end` are milliseconds UTC; `end` is not included."""

    parameters: Parameters
    seed: int
    start: int
    end: int
    local: LocalTime
    campaigns: Campaigns
    people: People
    book: Book
    payments: Payments
    installs: Installs
    epochs: Epochs
    touches: Touches
    events: Events
    answers: Answers


def make(parameters: Parameters, seed: int, progress: Progress | None = None) -> World:
    """The lender of these parameters and this seed; the same two always make the same lender.

    Raises ConfigError where parameters contradict each other.
    """
    checked(parameters)
    tell = progress or (lambda doing, done: None)
    first = day_of(parameters.period.start) * DAY
    length = parameters.period.days * DAY
    local = LocalTime(parameters.lender.timezone, first - 2 * DAY, first + length + 400 * DAY)
    start, end = (int(moment) for moment in local.moment(np.array([first, first + length])))
    tell("people", 0.0)
    campaigns = campaigns_of(parameters)
    people = people_of(parameters, seed, campaigns, local, end)
    tell("loans", 0.1)
    book = book_of(parameters, seed, people, local, end)
    payments = payments_of(book.loans.repaying)
    tell("installations", 0.4)
    installs, epochs = installs_of(parameters, seed, people, campaigns, book.applications, end)
    tell("logins", 0.6)
    touches = touches_of(parameters, seed, people, book, payments, installs, epochs, local, end)
    tell("arrivals", 0.7)
    events = events_of(parameters, seed, people, book, payments, touches, local, end)
    tell("answers", 0.9)
    answers = answers_of(parameters, events, touches, epochs, local)
    tell("made", 1.0)
    return World(
        parameters=parameters,
        seed=seed,
        start=start,
        end=end,
        local=local,
        campaigns=campaigns,
        people=people,
        book=book,
        payments=payments,
        installs=installs,
        epochs=epochs,
        touches=touches,
        events=events,
        answers=answers,
    )


def events(world: World) -> Iterator[Fields]:
    """Every event in the order of arrival, as the HTTP API takes it, with `received_at` beside.

    Made as they are asked for, so that a million events need no memory. The `device` of one installation
    is the same dict each time: copy it before changing it.
    """
    return _told(world, 0, len(world.events))


def stream(world: World, start: datetime, end: datetime) -> Iterator[Fields]:
    """The events that arrive from `start` on and before `end` (aware datetimes), in that order."""
    moments = np.array([-(-to_us(start) // 1_000), -(-to_us(end) // 1_000)])
    first, last = np.searchsorted(world.events.received_at, moments).tolist()
    return _told(world, first, last)


def user_id(user: int) -> str:
    """The id of a row of users."""
    return f"u{user + 1:07d}"


def loan_id(loan: int) -> str:
    """The id of a row of loans."""
    return f"L{loan + 1:08d}"


def event_ids(rows: Events) -> list[str]:
    """The ids of events: 32 hex digits that sort by time."""
    return [f"{h:016x}{w:016x}" for h, w in zip(rows.id_high.tolist(), rows.id_low.tolist(), strict=True)]


def instants(moments: Ints) -> list[str]:
    """RFC 3339 in UTC with milliseconds and Z."""
    return [f"{text}Z" for text in np.datetime_as_string(moments.astype("datetime64[ms]")).tolist()]


def days(local_days: Ints) -> list[str]:
    """Local days as ISO dates."""
    return list(np.datetime_as_string(local_days.astype("datetime64[D]")).tolist())


def _told(world: World, first: int, last: int) -> Iterator[Fields]:
    devices = _Devices(world)
    brand = world.parameters.lender.brand
    test = world.people.test
    for begin in range(first, last, _CHUNK):
        rows = world.events.take(slice(begin, min(begin + _CHUNK, last)))
        details: list[Fields] = [{}] * len(rows)
        for code in np.unique(rows.kind).tolist():
            places = np.flatnonzero(rows.kind == code)
            told = _details(world, devices, KINDS[code], rows.take(places))
            for place, detail in zip(places.tolist(), told, strict=True):
                details[place] = detail
        columns = zip(
            rows.kind.tolist(),
            rows.user.tolist(),
            event_ids(rows),
            instants(rows.occurred_at),
            instants(rows.received_at),
            test[rows.user].tolist(),
            details,
            strict=True,
        )
        for code, user, event_id, occurred_at, received_at, is_test, detail in columns:
            event = {
                "type": KINDS[code].value,
                "brand": brand,
                "user_id": user_id(user),
                "event_id": event_id,
                "occurred_at": occurred_at,
                "received_at": received_at,
                **detail,
            }
            if is_test:
                event["test"] = True
            yield event


def _details(world: World, devices: "_Devices", kind: EventType, rows: Events) -> list[Fields]:
    """What each event of one kind says beside who and when."""
    match kind:
        case EventType.REGISTERED | EventType.LOGGED_IN | EventType.APP_OPENED:
            return _touches(world, devices, rows)
        case EventType.CONSENT_CHANGED:
            allowed = (rows.part == 1).tolist()
            return [{"consent": {"ad_user_data": yes, "ad_personalization": yes}} for yes in allowed]
        case (
            EventType.APPLIED
            | EventType.REVIEW_STARTED
            | EventType.REVIEW_ENDED
            | EventType.PHONE_CHECK_STARTED
            | EventType.PHONE_CHECK_ENDED
            | EventType.CREDIT_GRANTED
            | EventType.CREDIT_DENIED
        ):
            return _application(world, kind, rows)
        case EventType.DISBURSED:
            return _disbursed(world, rows)
        case EventType.REPAID | EventType.REPAYMENT_REVERSED:
            return _payment(world, kind, rows)
        case _:
            return _loan(world, kind, rows)


def _touches(world: World, devices: "_Devices", rows: Events) -> list[Fields]:
    lender = world.parameters.lender
    install = world.touches.install[rows.about]
    apps = (f"{lender.brand}-android", f"{lender.brand}-ios")
    told = []
    columns = zip(install.tolist(), world.installs.ios[install].tolist(), rows.faults.tolist(), strict=True)
    for row, ios, faults in columns:
        fields: Fields = {"app": apps[ios], "device": devices.of(row, faults)}
        if faults & Fault.AGENT:
            fields["actor"] = "agent"
        told.append(fields)
    return told


def _application(world: World, kind: EventType, rows: Events) -> list[Fields]:
    asked, lender, scoring = world.book.applications, world.parameters.lender, world.parameters.scoring
    about = rows.about
    ids = [f"A{row + 1:08d}" for row in about.tolist()]
    if kind == EventType.APPLIED:
        columns = zip(ids, asked.amount[about].tolist(), asked.term[about].tolist(), strict=True)
        return [
            {
                "application_id": application,
                "amount": amount,
                "currency": lender.currency,
                "term_days": term,
                "product": lender.product,
            }
            for application, amount, term in columns
        ]
    if kind not in (EventType.CREDIT_GRANTED, EventType.CREDIT_DENIED):
        return [{"application_id": application} for application in ids]
    versions = (scoring.version, scoring.second_version)
    decided = [
        {"application_id": application, "score": score, "score_version": versions[second]}
        for application, score, second in zip(
            ids, asked.score[about].tolist(), asked.second_score[about].tolist(), strict=True
        )
    ]
    if kind == EventType.CREDIT_DENIED:
        return decided
    granted = zip(decided, about.tolist(), asked.limit[about].tolist(), strict=True)
    return [
        {**fields, "grant_id": _grant_id(row), "limit": limit, "currency": lender.currency}
        for fields, row, limit in granted
    ]


def _disbursed(world: World, rows: Events) -> list[Fields]:
    loans, lender = world.book.loans, world.parameters.lender
    about = rows.about
    amount = loans.amount[about] + rows.has(Fault.CONFLICT) * world.parameters.loans.step
    count = loans.repaying.instalments[about].tolist()
    planned = loans.repaying.planned_day[about]
    dates = np.datetime_as_string(planned.astype("datetime64[D]")).tolist()
    columns = zip(
        about.tolist(),
        loans.application[about].tolist(),
        loans.grant[about].tolist(),
        loans.number[about].tolist(),
        amount.tolist(),
        loans.fee[about].tolist(),
        loans.term[about].tolist(),
        count,
        dates,
        loans.repaying.instalment[about].tolist(),
        strict=True,
    )
    return [
        {
            "loan_id": loan_id(loan),
            "application_id": f"A{application + 1:08d}",
            "grant_id": _grant_id(grant),
            "loan_number": number,
            "product": lender.product,
            "amount": principal,
            "currency": lender.currency,
            "fee": fee,
            "term_days": term,
            "schedule": [{"due_date": due[i], "amount": parts[i]} for i in range(n)],
        }
        for loan, application, grant, number, principal, fee, term, n, due, parts in columns
    ]


def _payment(world: World, kind: EventType, rows: Events) -> list[Fields]:
    payments, loans, lender = world.payments, world.book.loans, world.parameters.lender
    about = rows.about
    loan = payments.loan[about]
    amount = payments.amount[about] + rows.has(Fault.CONFLICT) * world.parameters.loans.step
    named = zip(about.tolist(), loan.tolist(), loans.number[loan].tolist(), amount.tolist(), strict=True)
    told: list[Fields] = [
        {
            "payment_id": f"P{payment + 1:08d}",
            "loan_id": loan_id(row),
            "loan_number": number,
            "amount": paid,
            "currency": lender.currency,
        }
        for payment, row, number, paid in named
    ]
    if kind == EventType.REPAYMENT_REVERSED:
        return told
    columns = zip(
        told,
        amount.tolist(),
        payments.fee[about].tolist(),
        payments.outstanding[about].tolist(),
        days(payments.due_day[about]),
        payments.closes[about].tolist(),
        rows.has(Fault.DAY_PRECISION).tolist(),
        strict=True,
    )
    for fields, paid, fee, outstanding, due, closes, by_day in columns:
        fields["principal"] = paid - fee
        fields["fee"] = fee
        fields["outstanding"] = outstanding
        fields["due_date"] = due
        fields["closes_loan"] = closes
        if by_day:
            fields["time_precision"] = "day"
    return told


def _loan(world: World, kind: EventType, rows: Events) -> list[Fields]:
    """Reversal, cancellation, extension, lateness, default and recovery of loans."""
    loans, paying, settings = world.book.loans, world.book.loans.repaying, world.parameters.repayments
    currency, about = world.parameters.lender.currency, rows.about
    ids = [loan_id(row) for row in about.tolist()]
    match kind:
        case EventType.DISBURSEMENT_REVERSED | EventType.LOAN_CANCELLED:
            amounts = loans.amount[about].tolist()
            return [
                {"loan_id": loan, "amount": amount, "currency": currency}
                for loan, amount in zip(ids, amounts, strict=True)
            ]
        case EventType.EXTENDED:
            columns = zip(
                ids, paying.extension_fee[about].tolist(), days(paying.due_day[about, 0]), strict=True
            )
            return [
                {"loan_id": loan, "fee": fee, "currency": currency, "due_date": due}
                for loan, fee, due in columns
            ]
        case EventType.OVERDUE:
            i, j = np.divmod(rows.part, len(settings.overdue_days))
            dpd = np.array(settings.overdue_days)[j].tolist()
            owed = paying.overdue_outstanding[about, i, j].tolist()
            late = zip(ids, dpd, owed, days(paying.due_day[about, i]), strict=True)
            return [
                {"loan_id": loan, "dpd": n, "outstanding": left, "currency": currency, "due_date": due}
                for loan, n, left, due in late
            ]
        case EventType.DEFAULTED:
            written_off = {"dpd": settings.default_after_days, "currency": currency}
            return [
                {"loan_id": loan, "outstanding": left, **written_off}
                for loan, left in zip(ids, paying.defaulted_outstanding[about].tolist(), strict=True)
            ]
        case EventType.RECOVERED:
            back = paying.recovered[about]
            left = paying.defaulted_outstanding[about] - back
            recoveries = zip(about.tolist(), ids, back.tolist(), left.tolist(), strict=True)
            return [
                {
                    "payment_id": f"R{row + 1:08d}",
                    "loan_id": loan,
                    "amount": amount,
                    "outstanding": rest,
                    "currency": currency,
                }
                for row, loan, amount, rest in recoveries
            ]
        case _:
            raise AssertionError(kind)


def _grant_id(application: int) -> str:
    return f"G{application + 1:08d}"


class _Devices:
    """What the logins of each installation show, made once for each installation and gap in its ids."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._made: dict[tuple[int, int], Fields] = {}

    def of(self, install: int, faults: int) -> Fields:
        gaps = faults & (Fault.NO_APPSFLYER_ID | Fault.NO_INSTALL_ID)
        made = self._made.get((install, gaps))
        if made is None:
            made = self._made[install, gaps] = self._snapshot(install, gaps)
        return made

    def _snapshot(self, install: int, gaps: int) -> Fields:
        world, installs, phones = self._world, self._world.installs, self._world.installs.phones
        lender = world.parameters.lender
        phone, ios = int(installs.phone[install]), bool(installs.ios[install])
        model = models_of(ios)[int(phones.model[phone])]
        at = int(installs.at[install])
        release = max(0, (at - world.start) // (30 * DAY))  # a new version of the app every 30 days
        width, height, density = model.screen
        device: Fields = {
            "os": "ios" if ios else "android",
            "os_version": model.os_version,
            "model": model.name,
            "locale": lender.locale,
            "timezone": lender.timezone,
            "screen_width": width,
            "screen_height": height,
            "screen_density": density,
            "cpu_cores": model.cores,
            "storage_gb": model.storage_gb,
            "free_storage_gb": int(phones.free_gb[phone]),
            "app_version": f"3.{1 + release}.0",
            "app_build": str(310 + 10 * release),
            "ip": phones.ip[phone],
            "limit_ad_tracking": bool(phones.limited[phone]),
        }
        if lender.carriers:
            device["carrier"] = lender.carriers[int(phones.carrier[phone])]
        if ios:
            device["att_status"] = int(phones.att_status[phone])
            device["idfa"], device["idfv"] = phones.advertising_id[phone], phones.idfv[phone]
        else:
            device["gaid"] = phones.advertising_id[phone]
        if not gaps & Fault.NO_INSTALL_ID:
            device["installed_at"] = instants(np.array([at]))[0]
            device["firebase_app_instance_id"] = installs.firebase_id[install]
            if not gaps & Fault.NO_APPSFLYER_ID:
                device["appsflyer_id"] = installs.appsflyer_id[install]
        return device
