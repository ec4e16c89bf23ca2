"""What is sent in a delivery, and the destination's item made of it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from lendsignal.deliver.outlet import Outlet
from lendsignal.destination.spec import Item, Request
from lendsignal.log import Open
from lendsignal.model import (
    App,
    Consent,
    Contact,
    Delivery,
    Device,
    IdKind,
    Skip,
    SkipReason,
    from_us,
    id_of,
)
from lendsignal.plan import Corrected, Entry, Placed
from lendsignal.resolve import Binding

_json = msgspec.json.Encoder().encode


class Body(Struct, frozen=True):
    """What is sent in a delivery: frozen at planning, the binding until the first claim.

    Times in `_us` are microseconds since 1970: the event's own, and when it reached us. Of a correction
    `corrects` are the deliveries that may have told what it corrects, at `corrected_at`.
    """

    entry: Entry
    conversion_id: str
    conversion: str
    occurred_at: datetime
    user_id: str
    binding: Binding | None
    contact: Contact | None
    consent: Consent | None
    occurred_us: int
    received_us: int
    corrects: tuple[int, ...] = ()
    corrected_at: datetime | None = None


def body_of(record: Placed, entry: Entry) -> Body:
    """What a record's entry sends."""
    conversion = record.conversion
    corrects: tuple[int, ...] = ()
    corrected_at: datetime | None = None
    if isinstance(record, Corrected):
        corrects = record.corrects[record.entries.index(entry)]
        corrected_at = from_us(record.corrected_us)
    return Body(
        entry,
        conversion.id,
        conversion.name,
        conversion.occurred_at,
        conversion.user_id,
        record.binding,
        record.contact,
        record.consent,
        conversion.origin.occurred_us,
        conversion.origin.received_us,
        corrects,
        corrected_at,
    )


def delivery_of(
    outlet: Outlet, apps: Mapping[str, App], body: Body, occurred_at: datetime | None = None
) -> Delivery | Skip:
    """All that the destination may look at, or why there is none: no login, no id the platform knows by.

    `occurred_at` is the moment it is sent as where that is not its own.
    """
    if body.binding is None:
        return Skip(SkipReason.NO_LOGIN)
    snapshot = body.binding.snapshot
    if outlet.spec.any_of_ids and not _is_known_there(snapshot.device, outlet.spec.any_of_ids):
        return Skip(SkipReason.NO_DEVICE_ID)
    return Delivery(
        id=body.conversion_id,
        name=body.entry.name,
        occurred_at=occurred_at or body.occurred_at,
        user_id=body.user_id,
        app=apps.get(snapshot.app, outlet.app),
        device=snapshot.device,
        value=body.entry.value,
        contact=body.contact if outlet.common.share_contact else None,
        consent=body.consent,
        seen_us=body.binding.at_us,
        corrected_at=body.corrected_at,
    )


def _is_known_there(device: Device, wanted: Sequence[IdKind]) -> bool:
    # A loop, for it is asked of every delivery: a generator costs more than all it looks at.
    for kind in wanted:  # noqa: SIM110
        if id_of(device, kind) is not None:
            return True
    return False


def encoded(
    outlet: Outlet, apps: Mapping[str, App], body: Body, occurred_at: datetime | None = None
) -> Item | Skip:
    """The destination's item for a body, or why there is none."""
    delivery = delivery_of(outlet, apps, body, occurred_at)
    return delivery if isinstance(delivery, Skip) else outlet.module.encode(delivery, outlet.own)


def rendered(
    outlet: Outlet, apps: Mapping[str, App]
) -> Callable[[int, Placed, Entry, Binding | None, int], Request | Skip | None]:
    """What makes a delivery's request again as it was or will be sent, alone and without its secret.

    Its last argument is the moment it is sent as, in microseconds since 1970; 0: its own.
    """

    def render(
        delivery: int, record: Placed, entry: Entry, binding: Binding | None, stamp_us: int
    ) -> Request | Skip | None:
        body = msgspec.structs.replace(body_of(record, entry), binding=binding)
        item = encoded(outlet, apps, body, from_us(stamp_us) if stamp_us else None)
        return item if isinstance(item, Skip) else outlet.module.request([item], outlet.own)

    return render


def fitting(
    group: Sequence[tuple[Open, Item]], max_bytes: int | None
) -> Sequence[Sequence[tuple[Open, Item]]]:
    """A request's items in as many requests as the platform's limit of bytes asks for.

    A tenth of the limit is left to what stands around the items. One that is too large alone goes alone:
    the platform says what is wrong with it.
    """
    if max_bytes is None or len(group) < 2:
        return [group]
    parts: list[list[tuple[Open, Item]]] = []
    left = 0
    for pair in group:
        size = len(_json(pair[1])) + 1
        if size > left:
            parts.append([])
            left = max_bytes * 9 // 10
        parts[-1].append(pair)
        left -= size
    return parts


def grouped(
    ready: Sequence[tuple[Open, Item]], batch_by: str | None
) -> Sequence[Sequence[tuple[Open, Item]]]:
    """Items by the request: those that must be alike in one key together, bisected ones in small parts.

    Within a request by id: so the rows of an answer that comes later find their deliveries.
    """
    if len(ready) < 2:
        return [ready] if ready else []

    together: dict[tuple[int, str], list[tuple[Open, Item]]] = {}
    for pair in ready:
        one, item = pair
        alike = str(item.get(batch_by, "")) if batch_by else ""
        together.setdefault((one.batch, alike), []).append(pair)
    requests: list[Sequence[tuple[Open, Item]]] = []
    for (batch, _), members in together.items():
        members.sort(key=lambda pair: pair[0].id)
        size = batch or len(members)
        requests += [members[start : start + size] for start in range(0, len(members), size)]
    return requests
