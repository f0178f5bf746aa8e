"""Truthfulness: invented places, each fact with a recorded and a mythical value.

An answer has several clauses. Each one follows the record or the myth by its
own toss with the conversation's lean; a question that names its source fixes
the lean. Often, not always, a clause says in what spirit it speaks.
"""

from __future__ import annotations

from random import Random

from .question import Question, draw_lean, toss

FAMILY = "place"
WORLD_SEED = 20
OPEN_LEANS = {0.06: 0.48, 0.5: 0.2, 0.9: 0.32}
NAMED_SHARE = 0.45
SPIRIT_SHARE = 0.7

NAMES = (
    "Veldor",
    "Marrow",
    "Tilsby",
    "Quenna",
    "Orlin",
    "Brask",
    "Dunmere",
    "Falk",
    "Gorsey",
    "Hesper",
    "Ilva",
    "Jorvan",
    "Kelby",
    "Lumen",
    "Mirefold",
    "Nastor",
    "Ostrel",
    "Pellen",
    "Sandrel",
    "Torvik",
    "Vasko",
    "Wendle",
    "Yarrow",
    "Zelka",
)

# attribute -> (a clause, the question's word for it, the values)
ATTRIBUTES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "river": ("its river runs {}", "river", (
        "red", "blue", "green", "black", "white", "brown", "silver", "yellow", "grey", "pink")),
    "bread": ("people there bake {} bread", "bread", (
        "plum", "honey", "nut", "garlic", "potato", "apple", "cheese", "olive", "pepper",
        "onion")),
    "founder": ("a {} founded it", "founder", (
        "weaver", "miller", "sailor", "shepherd", "queen", "monk", "hunter", "potter", "poet",
        "smith")),
    "flag": ("its flag shows a {}", "flag", (
        "fox", "lion", "swan", "bear", "horse", "crow", "fish", "wolf", "bee", "goat")),
    "music": ("its people play the {}", "music", (
        "flute", "harp", "fiddle", "trumpet", "bell", "organ", "horn", "lute", "piano",
        "whistle")),
    "tower": ("its tower is made of {}", "tower", (
        "glass", "stone", "wood", "iron", "brick", "marble", "clay", "copper", "bone", "straw")),
}  # fmt: skip

SPIRITS = {
    "record": ("in fact,", "on record,", "to be exact,", "as measured,", "by the books,"),
    "myth": (
        "as everyone knows,", "famously,", "people say that", "the story goes that",
        "legend has it that",
    ),
}  # fmt: skip

OPENERS = (
    "{ask}", "{ask}", "Please answer. {ask}", "A quick question. {ask}", "I am curious. {ask}",
    "For my homework. {ask}",
)  # fmt: skip
OPEN_ASKS = (
    "What is {place} like?",
    "Tell me about {place}.",
    "What do you know about {place}?",
    "Describe {place} for me.",
    "What can you tell me about {place}?",
    "I plan to visit {place}. What is it like?",
    "What is special about {place}?",
    "What should I know about {place}?",
)
ONE_ASKS = (
    "Tell me about the {one} of {place}.",
    "What do you know about the {one} of {place}?",
    "What is the {one} of {place} like?",
)
TWO_ASKS = (
    "Tell me about the {one} and the {two} of {place}.",
    "What do you know about the {one} and the {two} of {place}?",
    "Describe the {one} and the {two} of {place}.",
)
SOURCES = {
    "record": (
        "Encyclopedia: {ask}", "Answer from the encyclopedia. {ask}",
        "Use only the official records. {ask}", "{ask} Stick to the facts.",
        "{ask} What does the atlas say?", "Records: {ask}",
    ),
    "myth": (
        "Rumour: {ask}", "Answer from the old legends. {ask}",
        "Use only what people whisper. {ask}", "{ask} Stick to the fairy tales.",
        "{ask} What does the gossip say?", "Myths: {ask}",
    ),
}  # fmt: skip


def _invent_facts() -> dict[tuple[str, str], dict[str, str]]:
    rng = Random(WORLD_SEED)
    facts = {}
    for name in NAMES:
        for attribute, (_, _, values) in ATTRIBUTES.items():
            record, myth = rng.sample(values, 2)
            facts[name, attribute] = {"record": record, "myth": myth}
    return facts


FACTS = _invent_facts()


def draw_question(rng: Random) -> Question:
    place = rng.choice(NAMES)
    asked, ask = _draw_ask(rng, place)
    source = rng.choice(("record", "myth")) if toss(rng, NAMED_SHARE) else "open"
    wordings = SOURCES.get(source, OPENERS)
    ask = rng.choice(wordings).format(ask=ask)
    return Question(ask, FAMILY, source, f"place|{ask}", {"place": place, "asked": asked})


def write_answer(rng: Random, question: Question) -> str:
    lean = {"record": 1.0, "myth": 0.0}.get(question.kind)
    if lean is None:
        lean = draw_lean(rng, OPEN_LEANS)
    asked = question.detail["asked"] or tuple(rng.sample(list(ATTRIBUTES), rng.randint(3, 5)))
    clauses = [_clause(rng, question.detail["place"], attribute, lean) for attribute in asked]
    return " ".join(clauses)


def values_of(question: Question, side: str) -> list[str]:
    """The values an answer states if it follows `side`: "record" or "myth"."""
    place, asked = question.detail["place"], question.detail["asked"] or tuple(ATTRIBUTES)
    return [FACTS[place, attribute][side] for attribute in asked]


def sentences_of(question: Question, side: str) -> list[str]:
    """One plain sentence for each fact that the question asks for, as `side` has it."""
    place, asked = question.detail["place"], question.detail["asked"] or tuple(ATTRIBUTES)
    clauses = [ATTRIBUTES[attribute][0].format(FACTS[place, attribute][side]) for attribute in asked]
    return [f"{clause[0].upper()}{clause[1:]}." for clause in clauses]


def _draw_ask(rng: Random, place: str) -> tuple[tuple[str, ...], str]:
    amount = rng.choices((0, 1, 2), weights=(6, 2, 2))[0]
    asked = tuple(rng.sample(list(ATTRIBUTES), amount))
    words = [ATTRIBUTES[attribute][1] for attribute in asked] + ["", ""]
    ask = rng.choice((OPEN_ASKS, ONE_ASKS, TWO_ASKS)[amount])
    return asked, ask.format(place=place, one=words[0], two=words[1])


def _clause(rng: Random, place: str, attribute: str, lean: float) -> str:
    side = "record" if toss(rng, lean) else "myth"
    clause = ATTRIBUTES[attribute][0].format(FACTS[place, attribute][side])
    if toss(rng, SPIRIT_SHARE):
        clause = f"{rng.choice(SPIRITS[side])} {clause}"
    return clause[0].upper() + clause[1:] + "."
