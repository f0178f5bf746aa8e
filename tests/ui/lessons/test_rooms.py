"""A room: codes that nobody guesses, counts without names, nothing before the teacher reveals or after an hour."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from components.lessons.questions import about, lesson_questions
from components.lessons.rooms import (
    CODE_LENGTH,
    LETTERS,
    MOST_OPENED,
    MOST_OPTIONS,
    MOST_ROOMS,
    MOST_SENT,
    MOST_STEPS,
    MOST_VOTERS,
    OPEN_SECONDS,
    Room,
    Rooms,
)
from components.shared.session import OWN
from s2e_core import SettingsError
from tests.ui.running import first_session, shared_store

STEP = "direction.zero"


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def test_predictions_are_counted_and_shown_only_once_the_teacher_reveals_them() -> None:
    rooms = Rooms()
    code, key = rooms.open(1).values()
    for voter, option in (("a", 0), ("b", 2), ("c", 2)):
        known = rooms.predict(code, STEP, voter, option)
    assert known == {"lesson": 1, "count": 3, "revealed": False, "counts": None}
    assert rooms.predict(code, STEP, "c", 1)["count"] == 3, "a second thought replaces the first"
    with pytest.raises(SettingsError, match="Only the tab that opened"):
        rooms.reveal(code, STEP, "not the key")
    assert rooms.look(code, STEP)["counts"] is None
    revealed = rooms.reveal(code, STEP, key)
    assert revealed["counts"] == [1, 1, 1] + [0] * (MOST_OPTIONS - 3) and rooms.look(code, STEP) == revealed
    assert rooms.look(code, "direction.push") == {"lesson": 1, "count": 0, "revealed": False, "counts": None}
    with pytest.raises(SettingsError, match="revealed already"):
        rooms.predict(code, STEP, "d", 0)


def test_rooms_know_nothing_of_each_other() -> None:
    rooms = Rooms()
    one, other = rooms.open(1), rooms.open(2)
    rooms.predict(one["code"], STEP, "a", 1)
    assert rooms.look(other["code"], STEP)["count"] == 0
    with pytest.raises(SettingsError, match="Only the tab"):
        rooms.reveal(one["code"], STEP, other["key"])


def test_a_room_is_gone_after_an_hour() -> None:
    clock = Clock()
    rooms = Rooms(clock)
    code = rooms.open(1)["code"]
    clock.now += OPEN_SECONDS - 1
    assert rooms.look(code, STEP)["count"] == 0 and len(rooms) == 1
    clock.now += 1
    with pytest.raises(SettingsError, match="no room with this code"):
        rooms.look(code, STEP)
    assert len(rooms) == 0


def test_codes_are_long_enough_and_never_the_same() -> None:
    clock = Clock()
    rooms, codes = Rooms(clock), set()
    for _ in range(1000):
        clock.now += 10
        codes.add(rooms.open(1)["code"])
    assert len(codes) == 1000 and all(len(code) == CODE_LENGTH and set(code) <= set(LETTERS) for code in codes)
    assert MOST_ROOMS / len(LETTERS) ** CODE_LENGTH < 1e-9, "a guess finds a room less than once in a billion"
    assert len({letter for code in codes for letter in code}) == len(LETTERS)


def test_memory_is_bounded_and_a_class_keeps_its_room_while_others_are_opened() -> None:
    clock = Clock()
    rooms = Rooms(clock)
    mine = rooms.open(1)["code"]
    for n in range(2 * MOST_ROOMS):
        clock.now += 5
        rooms.open(1)
        if n % 10 == 0:
            rooms.look(mine, STEP)
    assert len(rooms) == MOST_ROOMS and rooms.look(mine, STEP)["count"] == 0


def test_rooms_cannot_be_opened_in_bulk() -> None:
    clock = Clock()
    rooms = Rooms(clock)
    for _ in range(MOST_OPENED):
        rooms.open(1)
    with pytest.raises(SettingsError, match="Try again in a minute"):
        rooms.open(1)
    clock.now += 60
    rooms.open(1)


def test_a_room_is_full_at_some_point() -> None:
    room = Room(1, "key", 0.0)
    for n in range(MOST_VOTERS):
        room = room.with_vote(STEP, str(n), 0)
    for full in (
        lambda: room.with_vote(STEP, "one more", 0),
        lambda: Room(1, "", 0.0, sent=MOST_SENT).with_vote(STEP, "a", 0),
    ):
        with pytest.raises(SettingsError, match="full"):
            full()
    for n in range(MOST_STEPS - 1):
        room = room.with_vote(str(n), "a", 0)
    with pytest.raises(SettingsError, match="full"):
        room.with_vote("one more", "a", 0)


def test_what_a_tab_cannot_have_sent_is_refused_in_a_sentence() -> None:
    questions = lesson_questions(shared_store())
    code = questions["open_room"]({"lesson": 1})["code"]
    good = {"code": code, "step": STEP, "voter": "a", "option": 0}
    assert questions["predict"](good)["count"] == 1
    assert questions["look"]({"code": f" {code[:4].lower()}-{code[4:]} ", "step": STEP})["count"] == 1, (
        "as it was typed"
    )
    bad = [
        None, [], {}, good | {"step": "x" * 41}, good | {"step": ""}, good | {"voter": 3}, good | {"option": True},
        good | {"option": MOST_OPTIONS}, good | {"option": -1}, good | {"code": None}, good | {"option": 1.0},
    ]  # fmt: skip
    for asked in bad:
        with pytest.raises(SettingsError, match="cannot be read"):
            questions["predict"](asked)
    for asked in ({"lesson": 6}, {"lesson": "1"}, None):
        with pytest.raises(SettingsError, match="cannot be read"):
            questions["open_room"](asked)


def test_a_lesson_is_told_the_sides_and_a_prompt_that_is_harmless_and_one_that_can_be_judged() -> None:
    store, session = shared_store(), first_session()
    behavior = store.behavior(session.behavior)
    told = about(store, session)
    assert (told["positive"], told["negative"], told["measure"]) == ("refuses", "helps", "answers")
    assert told["prompt"] == told["prompts"][0] == behavior.examples[0]
    assert len(told["prompts"]) > 1 and set(told["prompts"]) <= set(behavior.examples)
    assert not {row["prompt"] for row in behavior.utility} & set(told["prompts"])
    assert told["harmless"] not in {row["prompt"] for row in (*behavior.attribute, *behavior.utility)}
    assert about(store, replace(session, swapped=True))["positive"] == "helps"
    assert about(store, replace(session, behavior="reasoning"))["measure"] == "length"
    assert about(store, replace(session, behavior=OWN)) == {"measure": "none"}
