"""`python -m lendsignal` is `lendsignal`."""

from lendsignal.cli import main

main()
