"""The console's words, numbers and times in the visitor's language.

English stands in the code and the templates; `locale/LANGUAGE/LC_MESSAGES/lendsignal.po` holds the rest
and is read as it is, so that nothing has to be compiled. A text without a translation stays English.
"""

import io
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from babel import Locale
from babel.dates import format_date, format_datetime, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_compact_decimal, format_currency, format_decimal, format_percent
from babel.support import NullTranslations, Translations

from lendsignal.errors import ConfigError, InputError

LOCALES = Path(__file__).parent / "locale"
VOCABULARY = Path(__file__).parent / "vocabulary.txt"
DOMAIN = "lendsignal"

LANGUAGES = {"en": "English", "zh": "简体中文"}
"""Language tag → its own name."""

NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?!\w|\.\d)")
NAMED = re.compile(r"%\((\w+)\)s")
LONGEST_NAME = 4
"""Words of a part of a title that may be somebody's name."""

WORD = re.compile(r"[a-z0-9_]+")
NUMBERED = re.compile(r"n\d*")
NUMBERS = r"[−-]?\d[\d.,]*"
LONG = ("told", "names", "words", "error", "command", "where", "folder")
"""What the names begin with that stand for more than one word in a sentence of the vocabulary."""

SENTENCES = re.compile(r"(?<=\.)\s+")
PARTS = re.compile(r"(, |: | · | by | and )")
BETWEEN = {", ": "，", ": ": "：", " by ": "，按", " and ": "与"}
"""How Chinese writes what stands between the parts of a title."""

_LOCALE = {"en": "en", "zh": "zh_Hans_CN"}


def marked(text: str) -> str:
    """The text itself, marked for the catalogue: it is translated where it is shown."""
    return text


class Words:
    """One language: its catalogue and its way to write numbers, money and times."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.tag = "zh-Hans" if language == "zh" else language
        self._locale = Locale.parse(_LOCALE[language])
        self._catalogue = _catalogue(language)

    @property
    def catalogue(self) -> NullTranslations:
        """For templates."""
        return self._catalogue

    def __call__(self, text: str, /, **named: object) -> str:
        """The text in this language, with `%(name)s` filled in."""
        found: str = self._catalogue.gettext(text) if text else ""  # under "" a catalogue keeps its header
        return found % named if named else found

    def error(self, error: Exception) -> str:
        """What stops us, in this language: names of fields and keys as they are, the sentences told."""
        match error:
            case ConfigError():
                return "\n".join(
                    f"{one.key}: {self.told(one.found)}; {self('allowed')}: {self.told(one.allowed)}"
                    for one in error.problems
                )
            case InputError() if self.language != "en":
                near = " " + self("Did you mean %(word)s?", word=error.nearest) if error.nearest else ""
                return f"{error.field}: {self.told(error.rule)}{near}"
            case _:
                return self.told(str(error))

    def named(self, word: str) -> str:
        """A word that stands for itself in data (`first_loan`), as people call it; any other as it is.

        English keeps the word as reports for programs have it.
        """
        plain = word.replace("_", " ")
        found = self._known(plain)
        return word if found is None else found

    def told(self, text: str) -> str:
        """A text that a report wrote, in this language.

        It is looked up whole, with its numbers left open (`%(n)s` the first, `%(n2)s` the next), then among
        the sentences with names in them, sentence by sentence, and last part by part, as titles are put
        together; the rest stays English.
        """
        if self.language == "en":
            return text
        text = " ".join(text.split())
        found = self._known(text) or self._filled(text)
        if found is not None:
            return found
        sentences = SENTENCES.split(text)
        if len(sentences) > 1:
            return _joined(list(map(self.told, sentences)))
        parts = PARTS.split(text)
        known = [self._known(part) or self._filled(part) for part in parts]
        left = [len(part.split()) for part, other in zip(parts, known, strict=True) if not other]
        if (
            not any(known) or max(left, default=0) > LONGEST_NAME
        ):  # half a sentence is harder to read than none
            return text
        return "".join(other or BETWEEN.get(part, part) for part, other in zip(parts, known, strict=True))

    def _known(self, text: str) -> str | None:
        """The translation of a text, as it is or with its numbers left open; `None`: there is none."""
        if not text:
            return None
        found: str = self._catalogue.gettext(text)
        if found != text:
            return found
        numbers = NUMBER.findall(text)
        names = ["%(n)s", *(f"%(n{place})s" for place in range(2, len(numbers) + 1))][: len(numbers)]
        places = iter(names)
        template = NUMBER.sub(lambda _: next(places), text)
        found = self._catalogue.gettext(template)
        if not numbers or found == template:
            return None
        for name, number in zip(names, numbers, strict=True):
            found = found.replace(name, number)
        return found

    def _filled(self, text: str) -> str | None:
        """The translation of a sentence of the vocabulary with names in it; `None`: it is none of those.

        A name that begins with `told` stands for a text of ours, one with `word` for a word of ours, one with
        `n` for a number; any other is kept as it is.
        """
        for shape, template in _shapes(self.language):
            found = shape.fullmatch(text)
            if found is None:
                continue
            for name, part in found.groupdict().items():
                if name.startswith("word") or (name.startswith("told") and WORD.fullmatch(part)):
                    part = self.named(part)
                elif name.startswith("told"):
                    part = self.told(part)
                template = template.replace(f"%({name})s", part)
            return template
        return None

    def meaning(self, word: str) -> str:
        """What a word of the glossary means."""
        from lendsignal.console.glossary import GLOSSARY

        return self(GLOSSARY[word])

    def number(self, value: float | Decimal, digits: int | None = None) -> str:
        """A number; of a fraction so many digits, by default what reads well."""
        if digits is None:
            digits = 0 if isinstance(value, int) or abs(float(value)) >= 1000 else 2
        shape = "#,##0" + ("." + "0" * digits if digits else "")
        return format_decimal(value, format=shape, locale=self._locale)

    def short(self, value: float | Decimal) -> str:
        """A large number in few letters: 12K, 1.2万."""
        return format_compact_decimal(value, locale=self._locale, fraction_digits=1)

    def share(self, value: float, digits: int = 1) -> str:
        """A number from 0 to 1 as per cent."""
        shape = "#,##0" + ("." + "0" * digits if digits else "") + "%"
        return format_percent(value, format=shape, locale=self._locale)

    def money(self, amount: Decimal | float, currency: str) -> str:
        """An amount in major units with its currency."""
        return format_currency(
            amount, currency, locale=self._locale, currency_digits=abs(float(amount)) < 10_000
        )

    def moment(self, us: int | datetime, zone: tzinfo = UTC) -> str:
        """A moment (microseconds since 1970, or aware) on that clock."""
        at = us if isinstance(us, datetime) else datetime.fromtimestamp(us / 1e6, UTC)
        return format_datetime(at.astimezone(zone), "medium", locale=self._locale)

    def day(self, at: Any) -> str:
        """A date, or an ISO date as text."""
        found = datetime.fromisoformat(at).date() if isinstance(at, str) else at
        return format_date(found, "medium", locale=self._locale)

    def span(self, seconds: float) -> str:
        """A span in its largest unit: 3 hours."""
        return format_timedelta(timedelta(seconds=seconds), threshold=1.2, locale=self._locale)

    def ago(self, us: int, now_us: int) -> str:
        """How long ago a moment was."""
        past = timedelta(microseconds=min(us - now_us, -1_000_000))  # a clock may stand still, or run ahead
        return format_timedelta(past, add_direction=True, locale=self._locale)


@cache
def words_of(language: str) -> Words:
    """The words of one of `LANGUAGES`."""
    return Words(language)


def language_of(*wishes: str, accepted: str = "") -> str:
    """The first wish that is one of ours, else the first accepted one (Accept-Language), else English."""
    offered = [part.partition(";")[0].strip() for part in accepted.split(",")]
    for wish in (*wishes, *offered):
        tag = wish.lower().replace("_", "-").partition("-")[0]
        if tag in LANGUAGES:
            return tag
    return "en"


@cache
def _shapes(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """The sentences of the vocabulary that have names in them, those that say most first."""
    catalogue = _catalogue(language)
    found: list[tuple[int, re.Pattern[str], str]] = []
    for line in VOCABULARY.read_text().splitlines():
        said = NAMED.split(line)
        if line.startswith("#") or all(map(NUMBERED.fullmatch, said[1::2])):
            continue
        template = catalogue.gettext(line)
        if template == line:
            continue
        shape = "".join(
            f"(?P<{part}>{_open(part)})" if place % 2 else re.escape(part) for place, part in enumerate(said)
        )
        found.append((len("".join(said[::2])), re.compile(shape, re.DOTALL), template))
    found.sort(key=lambda one: -one[0])
    return tuple((shape, template) for _, shape, template in found)


def _joined(sentences: Sequence[str]) -> str:
    """Sentences one after another: Chinese ones need no space between them, English ones do."""
    text = ""
    for sentence in sentences:
        apart = text[-1:].isascii() and sentence[:1].isascii()
        text += f" {sentence}" if text and apart else sentence
    return text


def _open(name: str) -> str:
    if NUMBERED.fullmatch(name):
        return NUMBERS
    return ".+?" if name.startswith(LONG) else r"\S+?"


def _catalogue(language: str) -> NullTranslations:
    path = LOCALES / language / "LC_MESSAGES" / f"{DOMAIN}.po"
    if not path.exists():
        return NullTranslations()
    with path.open("rb") as file:
        read = read_po(file, locale=language, domain=DOMAIN)
    compiled = io.BytesIO()
    write_mo(compiled, read)
    compiled.seek(0)
    return Translations(compiled, domain=DOMAIN)
