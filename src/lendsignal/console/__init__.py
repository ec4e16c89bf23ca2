"""The console: server-rendered pages with small scripts, readable without them; English and Chinese."""

from lendsignal.console.app import console

__all__ = ["console"]
