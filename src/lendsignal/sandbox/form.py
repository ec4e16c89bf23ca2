"""Parameters of a query or a form body, as platforms that take either read them."""

from contextlib import suppress
from urllib.parse import parse_qsl

from lendsignal.sandbox.verdict import Asked, media_type

FORM = "application/x-www-form-urlencoded"


def parameters(asked: Asked) -> dict[str, str]:
    """Name → value of the query and, in a POST of that type, of the form body; of a repeated name the last.

    A body of another type, or one that is no text, says nothing.
    """
    text = asked.query
    if asked.method == "POST" and media_type(asked.headers) == FORM:
        with suppress(UnicodeDecodeError):
            text = f"{text}&{asked.body.decode()}"
    return dict(parse_qsl(text, keep_blank_values=True))
