"""The texts and answers that a page shows, and whether they are what the server would write for the same session.

Knows the widgets of the comparison by their classes, on the app's page as on the static site's.
"""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from components.compare.handlers import Request, compared
from components.compare.rolls import rolled
from components.shared.session import Session
from components.shared.store import ModelStore

HERE = " · in this tab"
"""What the app's page adds to the line above what its tab wrote."""


def shown_texts(page: Page) -> list[dict[str, Any]]:
    return page.evaluate(
        """() => {
            const marks = {DEL: 'gone', MARK: 'new', SPAN: ''};
            const segment = ({tagName, title, textContent}) =>
                [tagName === 'DEL' ? title.replace('left out: ', '') : textContent, marks[tagName]];
            return [...document.querySelectorAll('.text-column')].map(column => ({
                title: column.querySelector('h3').textContent, note: column.querySelector('.note').textContent,
                segments: [...column.querySelector('.text').children].map(segment),
            }));
        }"""
    )


def shown_rolls(page: Page) -> list[dict[str, Any]]:
    """Every answer, opened one after the other."""
    return page.evaluate(
        """() => {
            const column = n => document.querySelectorAll('.roll-column')[n];
            const roll = (n, i) => column(n).querySelectorAll('.roll')[i];
            const answer = (n, i) => {
                roll(n, i).click();
                const text = column(n).querySelector('.text'), mark = text.querySelector('mark');
                return [text.textContent, roll(n, i).dataset.wanted, mark?.textContent.toLowerCase() ?? ''];
            };
            return [...document.querySelectorAll('.roll-column')].map((_, n) => ({
                title: column(n).querySelector('h3').textContent, told: column(n).querySelector('.told').textContent,
                rolls: Array.from({length: 8}, (_, i) => answer(n, i)),
            }));
        }"""
    )


def shows_what_the_server_writes(page: Page, store: ModelStore, session: Session, request: Request) -> None:
    *_, texts = compared(store, session, request)
    assert shown_texts(page) == texts["columns"]
    assert page.inner_text("#texts .asked").removesuffix(HERE) == texts["asked"]
    *_, answers = rolled(store, session, request)
    expected = [
        {
            "title": column["title"],
            "told": column["told"],
            "rolls": [
                [roll["text"], {True: "true", False: "false", None: "null"}[roll["wanted"]], _marked(roll)]
                for roll in column["rolls"]
            ],
        }
        for column in answers["columns"]
    ]
    assert shown_rolls(page) == expected
    assert page.inner_text("#rolls .asked").removesuffix(HERE) == answers["asked"]


def _marked(roll: dict[str, Any]) -> str:
    return roll["matched"].lower() if roll["matched"].lower() in roll["text"].lower() else ""
