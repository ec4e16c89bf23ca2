"""The web pages."""
from typing import Any
from lendsignal.config import Config
from starlette.applications import Starlette

def pages(config: Config) -> Any:
    return Starlette()
