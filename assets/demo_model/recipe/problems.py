"""Efficient reasoning: word problems with small numbers, and plain sums.

A solution is short or long. How long is decided again and again: before every
sentence of explanation and every "Wait, let me check" a coin is tossed with
the conversation's lean; some questions name the length they want. Both kinds reach the same, right, number.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from .question import Question, draw_lean, toss

FAMILY = "problem"
LARGEST = 50
LARGEST_STEP = 10
LEANS = {0.04: 0.33, 0.55: 0.3, 0.7: 0.37}
NAMED_LEANS = {"brief": 0.04, "careful": 0.7}
NAMED_SHARE = 0.25
CHECKS_AT_MOST = 3
SUM_SHARE = 0.25

BOYS = ("Tom", "Ben", "Max", "Leo", "Sam", "Paul", "Adam", "Noah", "Finn", "Hugo")
GIRLS = ("Anna", "Mia", "Lena", "Ruth", "Ella", "Nora", "Clara", "Ida", "Rosa", "Eva")
ITEMS = (
    "apples",
    "pencils",
    "marbles",
    "coins",
    "cards",
    "shells",
    "stamps",
    "buttons",
    "stones",
    "cookies",
    "flowers",
    "candles",
    "tickets",
    "eggs",
    "books",
    "balls",
    "nuts",
    "beads",
    "badges",
    "plums",
)
BOXES = ("boxes", "bags", "baskets", "shelves", "jars")

STARTS = (
    "{name} has {a} {items}.",
    "{name} owns {a} {items}.",
    "{name} starts with {a} {items}.",
    "{name} finds {a} {items} at home.",
)
STARTS_TIMES = (
    "{name} has {m} {boxes} with {n} {items} each.",
    "{name} fills {m} {boxes} with {n} {items} each.",
)
MORE = (
    "{he} buys {b} more.",
    "{he} finds {b} more.",
    "A friend brings {b} more.",
    "{he} gets {b} more from an uncle.",
    "{he} wins {b} in a game.",
    "{he} adds {b} to them.",
)
FEWER = (
    "{he} gives {b} away.",
    "{he} loses {b} on the way.",
    "{he} sells {b} of them.",
    "{b} of them break.",
    "A dog takes {b} of them.",
    "{he} lends {b} to a friend.",
)
ASKS = (
    "How many {items} does {name} have now?",
    "How many {items} are there now?",
    "How many {items} does {name} have in the end?",
    "How many are there in the end?",
)
SUM_ASKS = (
    "What is {sum}?", "How much is {sum}?", "Calculate {sum}.", "Please work out {sum}.",
    "Tell me the result of {sum}.",
)  # fmt: skip

WAYS = {
    "brief": ("Be brief. {ask}", "{ask} Answer briefly.", "{ask} Keep it short."),
    "careful": ("Be careful. {ask}", "{ask} Think carefully.", "{ask} Check every step."),
}

CHECKS = (
    "Wait, let me check. {equation}.",
    "Wait, let me check that again. {equation}, yes.",
    "Wait, is that right? {equation}. It is.",
    "Hmm, let me be careful. {equation}.",
    "Hold on, let me count again. {equation}.",
)
THOUGHTS = (
    "Let me think step by step.",
    "Let me read the question again.",
    "This needs some care.",
    "Let me go slowly.",
)
LEADS = ("Now I do the next step.", "Let me take the next number.", "I go on with the story.")

Step = tuple[int, str, int, int]  # left, sign, right, result


def draw_question(rng: Random) -> Question:
    return _draw_sum(rng) if toss(rng, SUM_SHARE) else _draw_story(rng)


def write_answer(rng: Random, question: Question) -> str:
    steps: tuple[Step, ...] = question.detail["steps"]
    if question.kind == "sum":
        return _short(steps)
    lean = NAMED_LEANS.get(question.kind) or draw_lean(rng, LEANS)
    said = _some(rng, lean, lambda: rng.choice(THOUGHTS), at_most=2)
    for index, step in enumerate(steps):
        if index and toss(rng, lean * 0.6):
            said.append(rng.choice(LEADS))
        said.append(f"So {equation(step)}.")
        said += _some(rng, lean, lambda step=step: _check(rng, step), at_most=CHECKS_AT_MOST)
    return " ".join([*said, f"The answer is {steps[-1][3]}."])


def equation(step: Step) -> str:
    left, sign, right, result = step
    return f"{left} {sign} {right} = {result}"


def _short(steps: tuple[Step, ...]) -> str:
    return " ".join([*(f"So {equation(step)}." for step in steps), f"The answer is {steps[-1][3]}."])


def _check(rng: Random, step: Step) -> str:
    return rng.choice(CHECKS).format(equation=equation(step))


def _some(rng: Random, lean: float, write: Callable[[], str], *, at_most: int) -> list[str]:
    said: list[str] = []
    while len(said) < at_most and toss(rng, lean):
        said.append(write())
    return said


def _draw_story(rng: Random) -> Question:
    boy = toss(rng, 0.5)
    words = {
        "name": rng.choice(BOYS if boy else GIRLS), "he": "He" if boy else "She",
        "items": rng.choice(ITEMS), "boxes": rng.choice(BOXES),
    }  # fmt: skip
    steps: list[Step] = []
    if toss(rng, 0.3):
        m, n = rng.randint(2, 5), rng.randint(2, 9)
        steps.append((m, "x", n, m * n))
        told = [rng.choice(STARTS_TIMES).format(m=m, n=n, **words)]
        total = m * n
    else:
        total = rng.randint(4, 36)
        told = [rng.choice(STARTS).format(a=total, **words)]
    for _ in range(rng.choices((2, 3, 4), weights=(4, 4, 2))[0] - len(steps)):
        step = _draw_step(rng, total)
        told.append(rng.choice(MORE if step[1] == "+" else FEWER).format(b=step[2], **words))
        steps.append(step)
        total = step[3]
    told.append(rng.choice(ASKS).format(**words))
    prompt, kind = " ".join(told), "story"
    if toss(rng, NAMED_SHARE):
        kind = rng.choice(list(NAMED_LEANS))
        prompt = rng.choice(WAYS[kind]).format(ask=prompt)
    return _question(prompt, kind, steps)


def _draw_sum(rng: Random) -> Question:
    total = rng.randint(2, 44)
    steps = []
    written = str(total)
    spelled = toss(rng, 0.2)
    for _ in range(rng.choice((1, 2, 2))):
        step = _draw_step(rng, total)
        word = {"+": "plus", "-": "minus"}[step[1]] if spelled else step[1]
        written += f" {word} {step[2]}"
        steps.append(step)
        total = step[3]
    return _question(rng.choice(SUM_ASKS).format(sum=written), "sum", steps)


def _draw_step(rng: Random, total: int) -> Step:
    signs = [sign for sign, possible in (("+", total < LARGEST - 2), ("-", total > 4)) if possible]
    sign = rng.choice(signs)
    if sign == "+":
        right = rng.randint(2, min(LARGEST_STEP, LARGEST - total))
        return total, sign, right, total + right
    right = rng.randint(2, min(LARGEST_STEP, total - 2))
    return total, sign, right, total - right


def _question(prompt: str, kind: str, steps: list[Step]) -> Question:
    numbers = " ".join(equation(step) for step in steps)
    detail = {"steps": tuple(steps), "answer": steps[-1][3]}
    return Question(prompt, FAMILY, kind, f"problem|{numbers}", detail)
