"""The command line: parses words, calls, prints. Text for people, `--json` for programs.

Exit codes: 0 done · 1 something did not go as it should (said on standard error) · 2 the words of the
command or the configuration are wrong.
"""

from lendsignal.cli.main import main

__all__ = ["main"]
