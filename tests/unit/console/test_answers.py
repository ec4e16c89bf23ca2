"""What was reckoned a moment ago is told again, within bounds, and reckoned once for all who ask together."""

from threading import Barrier, Thread

import pytest

from lendsignal.console.answers import Answers
from lendsignal.console.chores import Chores
from lendsignal.errors import InputError, LendsignalError

PATIENCE = 30.0


class Made:
    """Makes a text, and counts how often."""

    def __init__(self, text: str = "found") -> None:
        self.text = text
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        return self.text


def test_the_same_question_is_reckoned_once_and_another_one_anew() -> None:
    answers, made = Answers(), Made()

    assert [answers.of(("a", 1), made), answers.of(("a", 1), made)] == ["found", "found"]
    assert made.times == 1
    answers.of(("a", 2), made)
    assert made.times == 2


def test_only_so_many_letters_are_kept_and_the_longest_unasked_goes_first() -> None:
    answers = Answers(most=10)
    first, second, third = Made("1234"), Made("5678"), Made("9012")

    answers.of("first", first)
    answers.of("second", second)
    answers.of("first", first)  # asked again: the second is now the older one
    answers.of("third", third)
    answers.of("first", first)
    answers.of("second", second)

    assert (first.times, second.times, third.times) == (1, 2, 1)


def test_what_is_longer_than_all_that_may_be_kept_is_told_and_not_kept() -> None:
    answers, made = Answers(most=4), Made("12345")

    assert [answers.of("a", made), answers.of("a", made)] == ["12345", "12345"]
    assert made.times == 2


def test_two_who_ask_at_the_same_time_wait_for_one_reckoning() -> None:
    answers, made, begun = Answers(), Made(), Barrier(2, timeout=PATIENCE)
    told: list[str] = []

    def ask() -> None:
        begun.wait()
        told.append(answers.of("a", made))

    threads = [Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert (told, made.times) == (["found", "found"], 1)


def test_what_could_not_be_reckoned_is_tried_again() -> None:
    answers, made = Answers(), Made()

    def fails() -> str:
        raise LendsignalError("not now")

    with pytest.raises(LendsignalError):
        answers.of("a", fails)

    assert answers.of("a", made) == "found"


def test_a_chore_says_what_came_of_it_and_the_next_waits_for_it() -> None:
    chores, going = Chores(lambda: 7), Barrier(2, timeout=PATIENCE)

    def work() -> str:
        going.wait()
        return "3 members"

    chores.start("Building", "ada", work)
    with pytest.raises(InputError, match="Building is at work"):
        chores.start("Telling", "bob", Made())
    going.wait()

    assert chores.wait(PATIENCE)
    last = chores.last
    assert last is not None
    assert (last.name, last.who, last.said, last.good, last.ended_us) == (
        "Building",
        "ada",
        "3 members",
        True,
        7,
    )


def test_a_chore_that_fails_says_why_and_another_may_begin() -> None:
    chores = Chores(lambda: 7)

    def fails() -> str:
        raise LendsignalError("no events yet")

    chores.start("Building", "ada", fails)
    assert chores.wait(PATIENCE)
    assert chores.last is not None
    assert (chores.last.said, chores.last.good) == ("no events yet", False)
    chores.start("Building", "ada", Made())
    assert chores.wait(PATIENCE)
    assert chores.last.good
