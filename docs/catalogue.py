"""Brings the console's catalogues up to date: every text of code and templates, and what is translated.

`python docs/catalogue.py` writes `src/lendsignal/console/locale/*/LC_MESSAGES/lendsignal.po`; what is new
stands there with an empty translation, and what is gone is left out.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

CONSOLE = Path(__file__).parents[1] / "src" / "lendsignal" / "console"
KEYWORDS = {"_": None, "words": None, "marked": None, "gettext": None, "ngettext": (1, 2)}


def texts() -> Iterator[tuple[str, str | tuple[str, ...]]]:
    """Every text that is shown, with the file it stands in."""
    for path in sorted(CONSOLE.rglob("*.py")):
        for _, message, _, _ in extract_from_file("python", path, keywords=KEYWORDS):
            yield path.relative_to(CONSOLE).as_posix(), message
    options = {"trimmed": "true", "newstyle_gettext": "true", "trim_blocks": "true", "lstrip_blocks": "true"}
    for path in sorted(CONSOLE.rglob("*.html")):
        found = babel_extract(io.BytesIO(path.read_bytes()), list(KEYWORDS), (), options)
        for _, function, told, _ in found:
            parts = told if isinstance(told, tuple) else (told,)
            said = tuple(part for part in parts if part)
            if said:
                yield path.relative_to(CONSOLE).as_posix(), said[:2] if function == "ngettext" else said[0]
    yield from vocabulary()


def vocabulary() -> Iterator[tuple[str, str]]:
    """Words that are shown by their name: of roles, states, types, columns and reasons."""
    path = CONSOLE / "vocabulary.txt"
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            yield path.name, line


def catalogue(language: str) -> Catalog:
    """The catalogue of a language with every text there is now; translations are those in its file."""
    path = po_of(language)
    old = Catalog(locale=language, domain="lendsignal")
    if path.exists():
        with path.open("rb") as file:
            old = read_po(file, locale=language, domain="lendsignal")
    new = Catalog(locale=language, domain="lendsignal", fuzzy=False, header_comment=HEADER)
    for where, message in texts():
        known = old.get(message if isinstance(message, str) else message[0])
        new.add(message, known.string if known else "", locations=[(where, 1)])
    return new


def missing(language: str) -> list[str]:
    """Texts without a translation, and translations that fill in other names than the text does."""
    found = []
    for message in catalogue(language):
        if not message.id:
            continue
        ids, strings = _several(message.id), _several(message.string)
        names = set(re.findall(r"%\((\w+)\)s", ids[-1]))
        if not all(strings) or any(set(re.findall(r"%\((\w+)\)s", one)) != names for one in strings):
            found.append(ids[0])
    return found


def _several(told: object) -> list[str]:
    """A text, or its singular and plural."""
    return [str(one or "") for one in (told if isinstance(told, tuple | list) else (told,))]


def po_of(language: str) -> Path:
    """The file of a language."""
    return CONSOLE / "locale" / language / "LC_MESSAGES" / "lendsignal.po"


HEADER = "# The console's words in another language. Written by docs/catalogue.py; translations by hand."


def main() -> None:
    """Writes every catalogue, and says what is missing."""
    for language in ("zh",):
        found = catalogue(language)
        out = io.BytesIO()
        write_po(out, found, width=110, sort_output=True, no_location=True, omit_header=False)
        text = re.sub(
            r'"(POT-Creation-Date|PO-Revision-Date|Generated-By|Last-Translator|Language-Team|'
            r"Report-Msgid-Bugs-To|Project-Id-Version): .*\n",
            "",
            out.getvalue().decode(),
        )
        po_of(language).parent.mkdir(parents=True, exist_ok=True)
        po_of(language).write_text(text)
        print(f"{language}: {len(missing(language))} of {len(found)} without a translation")


if __name__ == "__main__":
    main()
