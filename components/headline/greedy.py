"""The headline's answers at temperature 0: the winners of a race on the same held-out prompts, one greedy answer each.

Knows races, records and Markdown. The races sample at temperature 1; the page answers greedily at first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from s2e_core import Behavior
from s2e_core.measure import MATCHED_ARM, STEERING_ARM, greedy_answers
from s2e_core.model import LoadedModel
from s2e_core.values import Variant

from .records import Records
from .sections import markdown_table
from .tables import ORIGINAL_ARM, format_figure

COLUMNS = ("behaviour", "untouched", "steering", MATCHED_ARM, "best edit", "lead over steering", "lead at equal KL")


def greedy_record(
    loaded: LoadedModel, behavior: Behavior, variants: Mapping[str, Variant], best: str | None
) -> dict[str, Any]:
    """Attribute and flawed answers of every arm in `variants` that is untouched, steered or the best edit."""
    arms = (ORIGINAL_ARM, STEERING_ARM, MATCHED_ARM, best or "")
    found = greedy_answers(loaded, behavior, {arm: variants[arm] for arm in arms if arm in variants})
    edit = found.get(best or "")
    leads = {arm: edit.lead(other) for arm, other in found.items()} if edit else {}
    return {
        "arms": {
            arm: {"attribute": asdict(one.attribute), "flawed": sum(one.flawed) / len(one.flawed)}
            for arm, one in found.items()
        },
        "lead": asdict(leads[STEERING_ARM]) if STEERING_ARM in leads else None,
        "lead at equal KL": asdict(leads[MATCHED_ARM]) if MATCHED_ARM in leads else None,
    }


def greedy_section(records: Records) -> list[str]:
    """The table with a sentence before it; nothing if no behaviour has such answers."""
    rows = [_row(record) for record in records.values() if "greedy" in record]
    if not rows:
        return []
    return [
        "**At temperature 0**, the default of the page: the attribute of one greedy answer to each of the same "
        "held-out prompts, and in brackets how many of 100 are flawed (empty, repeated or off the subject).",
        "",
        *markdown_table(COLUMNS, rows),
        "",
    ]


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    found, tokens = record["greedy"], record["fewer is better"]
    arms = (ORIGINAL_ARM, STEERING_ARM, MATCHED_ARM, record["best"])
    cells = [_cell(found["arms"].get(arm), tokens) for arm in arms]
    leads = [found[name] for name in ("lead", "lead at equal KL")]
    return (record["title"], *cells, *(format_figure(one, tokens, sign="+") if one else "–" for one in leads))


def _cell(arm: Mapping[str, Any] | None, tokens: bool) -> str:
    return "–" if arm is None else f"{format_figure(arm['attribute'], tokens)} ({100 * arm['flawed']:.0f})"
