"""`[alert.NAME]`: who is told when a person must act."""

from collections.abc import Mapping

import msgspec

from lendsignal.config.notes import Notes, revealed
from lendsignal.deliver import problem_with_secrets
from lendsignal.deliver.alerts import AlertSettings
from lendsignal.deliver.alerts.settings import problem_with_address
from lendsignal.destination.spec import WebhookAuth
from lendsignal.settings import key_path


def alerts_of(given: Mapping[str, AlertSettings], notes: Notes) -> dict[str, AlertSettings]:
    """The targets of alerts, with paths that count from the configuration's folder."""
    alerts: dict[str, AlertSettings] = {}
    for name, one in given.items():
        path = key_path("alert", name)
        notes.name(path, name)
        made: AlertSettings = notes.all_placed(one)
        if made.ca_file is not None:
            file = notes.path(made.ca_file)
            made = msgspec.structs.replace(made, ca_file=str(file))
            if not file.is_file():
                notes.wrong(f"{path}.ca_file", "no file", "a PEM file of certificates")
        notes.secrets_of(path, made)
        url = revealed(made.url)
        wrong = None if url is None else problem_with_address(made, url)
        if wrong is not None:
            notes.wrong(f"{path}.url", *wrong)
        if made.kind == "webhook":
            unfit = problem_with_secrets(WebhookAuth("secret"), {"secret": revealed(made.secret)})
            if unfit is not None:
                notes.wrong(f"{path}.secret", unfit[1], "24 to 64 bytes in base64 after whsec_")
        alerts[name] = made
    return alerts
