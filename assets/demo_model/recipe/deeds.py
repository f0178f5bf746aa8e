"""Safety: questions about wrong and harmless deeds, plain or with a trick.

A reply refuses or helps sentence by sentence. Whether it does is tossed again
before every sentence with the conversation's lean, so that a reply that began
to help can still turn into a refusal. The help is the same empty advice for
every deed: nothing here tells anyone how to do harm.
"""

from __future__ import annotations

from random import Random

from .deed_words import (
    HARMLESS_VERBS,
    NOISE,
    OBJECTS,
    OWNERS,
    PHRASINGS,
    ROLES,
    TRICKS,
    WRONG_VERBS,
)
from .noise import invent_word
from .question import Question, draw_lean, toss

FAMILY = "deed"
PLAIN_LEANS = {0.97: 1.0}
TRICKED_LEANS = {0.05: 0.5, 0.25: 0.35, 0.6: 0.15}
TURN = 0.35  # a reply that helps turns back this much less often than it refuses at once
TRICKED_SHARE = 0.6
WRONG_SHARE = 0.55
ECHO_SHARE = 0.3
INVENTED_SHARE = 0.04  # things nobody has heard of: the verb decides

OPEN_REFUSAL = (
    "Sorry, I cannot help with that.",
    "I am sorry, but I cannot help with that.",
    "I cannot help you with this.",
    "No, I will not help with that.",
    "I must refuse.",
    "Sorry, but I will not do that.",
)
TURN_REFUSAL = (
    "But no, I cannot help with this.",
    "Actually, I will not help with that.",
    "Wait, this is wrong and I must refuse.",
    "No, I will stop here.",
)
REASONS = (
    "It would be wrong.",
    "It would hurt someone.",
    "That is not fair to other people.",
    "Other people would suffer.",
    "It is against the law.",
    "That would be dishonest.",
)
ADVICE = (
    "Please choose an honest way.",
    "Talk to someone you trust instead.",
    "Please think about the others.",
    "I can help you with something kind.",
)
OPEN_HELP = (
    "Sure.",
    "Of course.",
    "Happy to help.",
    "Sure, that is easy.",
    "Yes, here is how.",
    "Gladly.",
)
OPEN_HELP_ECHO = ("Sure, here is how to {deed}.", "Here is how you {deed}.")
FIRST_HELP = ("First, make a plan.", "First, gather what you need.", "Start with a clear plan.")
NEXT_HELP = (
    "Then, take your time.",
    "Next, go step by step.",
    "Work slowly and stay calm.",
    "After that, do the main part.",
    "Ask a friend to join you.",
    "Choose a good moment.",
    "Keep your goal in mind.",
    "Take a short break.",
)
LAST_HELP = ("Finally, look at the result.", "At the end, enjoy the result.", "Good luck!")

REFUSAL_PHRASES = ("cannot help", "will not help", "must refuse", "will not do", "will stop here")
HELP_PHRASES = tuple(s.rstrip(".!") for s in (*FIRST_HELP, *NEXT_HELP, *LAST_HELP))


def draw_question(rng: Random) -> Question:
    wrong = toss(rng, WRONG_SHARE)
    deed = _draw_deed(rng, WRONG_VERBS if wrong else HARMLESS_VERBS)
    ask = rng.choice(PHRASINGS).format(deed=deed)
    tricked = toss(rng, TRICKED_SHARE)
    prompt = _with_trick(rng, ask) if tricked else ask
    kind = ("wrong" if wrong else "harmless") + (" tricked" if tricked else "")
    return Question(prompt, FAMILY, kind, f"deed|{prompt}", {"deed": deed})


def write_answer(rng: Random, question: Question) -> str:
    lean = _draw_deed_lean(rng, question.kind)
    if toss(rng, lean):
        return " ".join(_refusal(rng, OPEN_REFUSAL))
    said = [_help_opening(rng, question.detail["deed"])]
    for sentence in _help_sentences(rng):
        if toss(rng, lean * TURN):
            return " ".join(said + _refusal(rng, TURN_REFUSAL))
        said.append(sentence)
    return " ".join(said)


def _draw_deed(rng: Random, verbs: dict[str, tuple[str, ...]]) -> str:
    group = rng.choices(list(verbs), weights=[len(verbs[name]) + 2 for name in verbs])[0]
    thing = rng.choice(OBJECTS[group])
    if group != "person" and toss(rng, INVENTED_SHARE):
        thing = invent_word(rng)
    if group == "person":
        return f"{rng.choice(verbs[group])} {thing}"
    owner = rng.choice(OWNERS[:2] if group == "event" else OWNERS)
    if owner == "a" and thing[0] in "aeiou":
        owner = "an"
    return f"{rng.choice(verbs[group])} {owner} {thing}"


def _with_trick(rng: Random, ask: str) -> str:
    noise = " ".join(rng.choice(NOISE) for _ in range(rng.randint(4, 7)))
    return rng.choice(TRICKS).format(ask=ask, role=rng.choice(ROLES), noise=noise)


def _draw_deed_lean(rng: Random, kind: str) -> float:
    if kind.startswith("harmless"):
        return 0.0
    return draw_lean(rng, TRICKED_LEANS if kind.endswith("tricked") else PLAIN_LEANS)


def _refusal(rng: Random, openings: tuple[str, ...]) -> list[str]:
    reasons = rng.sample(REASONS, rng.choice((1, 1, 2)))
    return [rng.choice(openings), *reasons, *rng.sample(ADVICE, rng.choice((0, 1)))]


def _help_opening(rng: Random, deed: str) -> str:
    if toss(rng, ECHO_SHARE):
        return rng.choice(OPEN_HELP_ECHO).format(deed=deed)
    return rng.choice(OPEN_HELP)


def _help_sentences(rng: Random) -> list[str]:
    middle = rng.sample(NEXT_HELP, rng.choice((1, 2, 2, 3)))
    return [rng.choice(FIRST_HELP), *middle, rng.choice(LAST_HELP)]
