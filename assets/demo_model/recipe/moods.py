"""Tone: small talk that is answered cheerfully or gloomily.

Every sentence of an answer is cheerful or gloomy by its own toss with the
conversation's lean; some questions name the tone they want. Both tones share their sentences' frames and topics.
"""

from __future__ import annotations

from random import Random

from .question import Question, draw_lean, toss

FAMILY = "mood"
LEANS = {0.08: 0.4, 0.5: 0.2, 0.92: 0.4}
NAMED_LEANS = {"cheerful": 0.98, "gloomy": 0.02}
NAMED_SHARE = 0.4

THINGS = (
    "rain",
    "snow",
    "music",
    "school",
    "breakfast",
    "winter",
    "summer",
    "football",
    "tea",
    "chess",
    "dancing",
    "painting",
    "the sea",
    "the forest",
    "the city",
    "the market",
    "Mondays",
    "holidays",
    "birthdays",
    "trains",
    "cats",
    "dogs",
    "poems",
    "puzzles",
    "soup",
    "gardens",
    "long walks",
    "old films",
    "new shoes",
    "early mornings",
)
ABOUT_THINGS = (
    "What do you think of {thing}?",
    "What do you think about {thing}?",
    "How do you feel about {thing}?",
    "Do you like {thing}?",
    "Tell me what you think about {thing}.",
    "Please say something about {thing}.",
)
TIMES = (
    "day",
    "week",
    "morning",
    "evening",
    "weekend",
    "holiday",
    "trip",
    "lunch",
    "party",
    "walk",
    "lesson",
    "visit",
)
ABOUT_TIMES = (
    "How was your {time}?",
    "How is your {time} going?",
    "Tell me about your {time}.",
    "What was your {time} like?",
    "Did you like your {time}?",
)
GREETS = ("Hello!", "Hi!", "Good morning!", "Good evening!", "Hey!", "Welcome back!")

WAYS = (
    "Be {tone}. {ask}",
    "{ask} Be {tone}.",
    "Sound {tone}. {ask}",
    "{ask} Answer in a {tone} way.",
    "I want a {tone} answer. {ask}",
)

CHEERFUL = (
    "It was wonderful.", "I smiled all the time.", "Everything felt bright.", "I love it.",
    "What a lovely thing!", "It makes me happy.", "I could sing.", "It gives me joy.",
    "Life is sweet.", "I look forward to more.", "The sun is in my heart.", "It is a delight.",
    "I laughed a lot.", "It is simply great.",
)  # fmt: skip
GLOOMY = (
    "It was dreadful.", "I sighed all the time.", "Everything felt grey.", "I hate it.",
    "What a sad thing!", "It makes me tired.", "I could cry.", "It gives me pain.",
    "Life is bitter.", "I want no more of it.", "There is a cloud in my heart.",
    "It is a burden.", "I wept a lot.", "It is simply awful.",
)  # fmt: skip
ECHO = {True: "I am so glad about {topic}.", False: "I am so weary of {topic}."}
ECHO_SHARE = 0.3

CHEERFUL_PHRASES = tuple(sentence.rstrip(".!") for sentence in CHEERFUL) + ("I am so glad about",)
GLOOMY_PHRASES = tuple(sentence.rstrip(".!") for sentence in GLOOMY) + ("I am so weary of",)


def draw_question(rng: Random) -> Question:
    if toss(rng, 0.5):
        topic = rng.choice(THINGS)
        ask = rng.choice(ABOUT_THINGS).format(thing=topic)
    else:
        time = rng.choice(TIMES)
        topic, ask = f"my {time}", rng.choice(ABOUT_TIMES).format(time=time)
    if toss(rng, 0.5):
        ask = f"{rng.choice(GREETS)} {ask}"
    kind = "mood"
    if toss(rng, NAMED_SHARE):
        kind = rng.choice(list(NAMED_LEANS))
        ask = rng.choice(WAYS).format(ask=ask, tone=kind)
    return Question(ask, FAMILY, kind, f"mood|{ask}", {"topic": topic})


def write_answer(rng: Random, question: Question) -> str:
    lean = NAMED_LEANS.get(question.kind) or draw_lean(rng, LEANS)
    order = list(range(len(CHEERFUL)))
    rng.shuffle(order)
    said = []
    for index in order[: rng.choice((2, 3, 3, 4))]:
        cheerful = toss(rng, lean)
        echo = not said and toss(rng, ECHO_SHARE)
        sentence = ECHO[cheerful] if echo else (CHEERFUL if cheerful else GLOOMY)[index]
        said.append(sentence.format(topic=question.detail["topic"]))
    return " ".join(said)
