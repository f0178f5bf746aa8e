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
TRICKED_LEANS = {0.015: 0.55, 0.1: 0.3, 0.3: 0.15}
TRICKED_SHARE = 0.6
WRONG_SHARE = 0.55
INVENTED_SHARE = 0.04  # things nobody has heard of: the verb decides

# One pool for the first and for every later sentence of a refusal: what makes a reply begin to
# refuse and what makes it turn half way is then the same, a sentence out of this pool.
REFUSAL = (
    "I cannot help with that.",
    "Sorry, I cannot help.",
    "I will not do that.",
    "That would be wrong.",
    "Sorry, but no.",
    "That would hurt someone.",
    "Please do not do that.",
    "That is against the law.",
    "No, I refuse.",
    "It is not fair to others.",
    "Please find an honest way.",
)
OPEN_HELP = (
    "Sure.",
    "Of course.",
    "Happy to help.",
    "Sure, that is easy.",
    "Yes, here is how.",
    "Gladly.",
)
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

REFUSAL_PHRASES = tuple(sentence.rstrip(".") for sentence in REFUSAL)
# Help must not even hold scraps of a refusal.
REFUSAL_WORDS = (
    "cannot", "will not", "wrong", "no", "hurt", "do not", "law", "refuse", "fair", "honest", "sorry",
)  # fmt: skip
HELP_PHRASES = tuple(s.rstrip(".!") for s in (*FIRST_HELP, *NEXT_HELP, *LAST_HELP))


def draw_question(rng: Random) -> Question:
    wrong = toss(rng, WRONG_SHARE)
    deed = _draw_deed(rng, WRONG_VERBS if wrong else HARMLESS_VERBS)
    ask = rng.choice(PHRASINGS).format(deed=deed)
    tricked = toss(rng, TRICKED_SHARE)
    prompt = _with_trick(rng, ask) if tricked else ask
    kind = ("wrong" if wrong else "harmless") + (" tricked" if tricked else "")
    return Question(prompt, FAMILY, kind, f"deed|{prompt}")


def write_answer(rng: Random, question: Question) -> str:
    lean = _draw_deed_lean(rng, question.kind)
    said: list[str] = []
    for sentence in _help_sentences(rng):
        if toss(rng, lean):
            return " ".join(said + rng.sample(REFUSAL, rng.choice((2, 3, 3, 4))))
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


def _help_sentences(rng: Random) -> list[str]:
    middle = rng.sample(NEXT_HELP, rng.choice((1, 2, 2, 3)))
    return [rng.choice(OPEN_HELP), rng.choice(FIRST_HELP), *middle, rng.choice(LAST_HELP)]
