"""lendsignal: a lender's loan events, on the device of the last login, to the platforms that sold the user.

The rooms, in the order the data flows: source → log → resolve → derive → plan → deliver → report.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lendsignal.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`lendsignal.Client` and `lendsignal.AsyncClient`, loaded when they are asked for."""
    if name in ("AsyncClient", "Client"):
        from lendsignal import client

        return getattr(client, name)
    raise AttributeError(f"module 'lendsignal' has no attribute {name!r}")
