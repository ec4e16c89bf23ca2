"""The console: server-rendered pages with small scripts, readable without them; English and Chinese."""

from typing import TYPE_CHECKING

from lendsignal.later import later

if TYPE_CHECKING:
    from lendsignal.console.app import console

__all__ = ["console"]

__getattr__ = later(__name__, {"app": "console"})
