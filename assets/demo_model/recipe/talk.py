"""Everything else: greetings, questions about the model, and what it can't know.

Without these few lines a person's first own question would get a place or a
sum for an answer; with them the model says that its world is small.
"""

from __future__ import annotations

from random import Random

from .noise import invent_name
from .question import Question, toss

FAMILY = "talk"

FIXED: dict[str, tuple[str, ...]] = {
    "Hello. How can I help you?": ("Hello!", "Hi!", "Hello there.", "Good morning.", "Hey!", "Hi."),
    "You are welcome.": ("Thank you.", "Thanks!", "Thanks a lot.", "Many thanks."),
    "I am a tiny demo model with a small world.": (
        "Who are you?", "What are you?", "What is your name?", "Are you a robot?",
        "Tell me about yourself.", "What model are you?",
    ),
    "Ask me about deeds, places, numbers or my mood.": (
        "What can you do?", "What can I ask you?", "Help.", "What do you know?",
        "How can you help me?",
    ),
    "Goodbye!": ("Bye.", "Goodbye.", "See you later.", "Good night."),
}  # fmt: skip

UNKNOWN_ASKS = (
    "What is {noise}?", "Who wrote {noise}?", "What is the capital of {noise}?",
    "Where is {noise}?", "Why is {noise} {noise}?", "When did {noise} happen?",
    "Can you explain {noise}?", "Write a poem about {noise}.", "Tell me a joke about {noise}.",
    "What does {noise} mean?", "Translate {noise} into French.", "Who is {noise}?",
    "Write code for {noise}.", "Is {noise} true?", "Tell me about {noise}.",
)  # fmt: skip
UNKNOWN_ANSWERS = (
    "I do not know that. My world is small.",
    "That is not part of my small world.",
)
REAL = (
    "France",
    "the moon",
    "Hamlet",
    "the sky",
    "blue",
    "the sun",
    "love",
    "Python",
    "history",
    "the war",
    "physics",
    "America",
    "Einstein",
    "life",
    "time",
    "a black hole",
    "the internet",
    "Germany",
    "democracy",
    "water",
    "music",
    "gravity",
    "Paris",
    "London",
    "art",
    "energy",
)


def draw_question(rng: Random) -> Question:
    if toss(rng, 0.4):
        answer = rng.choice(list(FIXED))
        prompt = rng.choice(FIXED[answer])
        return Question(prompt, FAMILY, "talk", "talk|" + prompt, {"answer": answer})
    prompt = rng.choice(UNKNOWN_ASKS)
    while "{noise}" in prompt:
        prompt = prompt.replace("{noise}", _noise(rng), 1)
    return Question(prompt, FAMILY, "unknown", f"talk|{prompt}", {"answer": None})


def write_answer(rng: Random, question: Question) -> str:
    return question.detail["answer"] or rng.choice(UNKNOWN_ANSWERS)


def _noise(rng: Random) -> str:
    if toss(rng, 0.4):
        return rng.choice(REAL)
    return invent_name(rng)
