"""The web pages: server-rendered, readable without scripts, kept fresh by a few lines of one."""

from lendsignal.console.pages import pages

__all__ = ["pages"]
