"""What members are predicted to be worth: by the value model that was trained last, else by the lender's own.

The lender's own prediction is the property `predicted_value` of its events, the latest of each user.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec import Struct

from lendsignal.errors import LendsignalError
from lendsignal.log import DataFolder
from lendsignal.report.tables import Tables
from lendsignal.value.settings import WorthSettings
from lendsignal.value.worth import APPLICATION

PREDICTED = """
create temp table list_predicted as
select user_key, arg_max(try_cast(json_extract_string(properties, '$.predicted_value') as double),
    occurred_at) as value
from raw_events
where verdict = 'taken' and properties is not null and contains(properties, 'predicted_value')
group by user_key
"""


class Said(Struct, frozen=True):
    """Users, as `brand:user_id`, and what each is predicted to be worth, in the user's own currency."""

    users: list[str]
    values: "np.ndarray[Any, np.dtype[np.float64]]"


Predict = Callable[[Tables], Said]


def by_model(folder: DataFolder, settings: WorthSettings) -> Predict | None:
    """The youngest value model; `None` where none was trained."""
    from lendsignal.report.value_models import kept, versions

    try:
        known = versions(folder.value_models)
        model = kept(folder.value_models, known[-1]).model if known else None
    except LendsignalError:
        return None  # a damaged model is for `value` to tell of
    if model is None:
        return None

    def predict(tables: Tables) -> Said:
        from lendsignal.report.training import training
        from lendsignal.value.training import values_of

        found = training(tables, settings)
        users: list[str] = []
        values: list[np.ndarray[Any, np.dtype[np.float64]]] = []
        for moment, scopes in model.scopes.items():
            if moment == APPLICATION:
                continue  # who is on a list was granted: the grant knows more
            for currency, scope in scopes.items():
                new = found.users.get(moment, {}).get(currency)
                if new is not None:
                    users += [f"{brand}:{user}" for brand, user in found.names[moment][currency]]
                    values.append(values_of(scope, new))
        return Said(users, np.concatenate(values) if values else np.empty(0, dtype=np.float64))

    return predict
