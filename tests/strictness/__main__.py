"""`python -m tests.strictness` writes the table of how strict the stand-ins are into the sandbox's page.

A valid request of every destination is broken in one place at a time. The requests are the destinations' own,
made of a delivery with every fact, and the rules are the platforms' (`sheets.py`). What breaks no rule of the
platform is no mutation: leaving out what is optional, a repeat where nothing drops repeats, an old event
where the platform only dates it anew.
"""

from tests.strictness.judged import PAGE, page, table

if __name__ == "__main__":
    PAGE.write_text(page())
    print(table())
