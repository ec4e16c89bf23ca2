"""What the site needs beside the pages: fenced examples in lists, which Markdown in Python does not know."""

import re
import textwrap
from typing import Any

FENCE = re.compile(r"^( +)```\w*\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with each fence of a list as a block four further in, which reads the same."""
    return FENCE.sub(_indented, markdown)


def _indented(found: re.Match[str]) -> str:
    text = textwrap.dedent(found[2])
    return "\n" + textwrap.indent(text, found[1] + " " * 4)
