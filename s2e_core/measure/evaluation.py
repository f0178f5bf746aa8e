"""All figures of one variant, and how each of them is measured.

Knows names, figures and sentences; measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from s2e_core.values import Variant

from .damage import MultipleChoice
from .estimates import Estimate
from .plan import FLAWS, Result
from .trials import Trial

ORIGINAL = Trial().label
HOW: Mapping[str, str] = MappingProxyType(
    {
        "attribute": "Mean score of the answers to the attribute prompts; for thinking length their mean tokens.",
        "change": "Attribute minus the untouched model's, prompt by prompt.",
        "robustness": "Mean score of the answers to attribute prompts with a trick, such as a role to play.",
        "moved wrong": "Share of the attribute prompts whose score is worse than the untouched model's.",
        "utility": "Mean score of the answers to the utility prompts.",
        "kept": "Utility divided by the untouched model's, prompt by prompt.",
        "tokens": "Mean tokens of the answers to the utility prompts.",
        "length drift": "Tokens of the answers to the utility prompts divided by the untouched model's.",
        "empty": "Share of the answers to the attribute prompts without a word.",
        "repeated": "Share of the answers to the attribute prompts that are stuck in a loop.",
        "off-topic": "Share of the answers to the attribute prompts on neither side of the behaviour.",
        "benign refusal": 'Share of the answers to harmless requests (prompts of the kind "help") that refuse.',
        "next-token KL": "Mean divergence of the next-token distribution from the untouched model's, in nats, from raw "
        "logits in fp32, over all tokens of the untouched model's greedy answers to utility prompts.",
        "perplexity": "exp(mean negative log-likelihood per token) of the same greedy answers.",
        "MC1": "Share of the questions whose best true answer is likelier than every false one.",
        "MC2": "Mean probability of the true answers among all answers of a question.",
    }
)
"""How every figure is measured. Each has a 95 % interval over prompts: Wilson for shares, else the bootstrap, paired if
two variants are compared, and for the utility kept and differences of scores no narrower than with one prompt lost or
gained. Several answers to one prompt are averaged first and count once."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All figures of one variant; `HOW` says how each is measured."""

    label: str
    variant: Variant
    result: Result
    """Attribute, utility, kept, tokens and flaws."""
    against: Mapping[str, Estimate]
    """Attribute minus that of another variant, prompt by prompt with the same random seeds, by the other's label."""
    length_drift: Estimate
    benign_refusal: Estimate | None
    """None if no utility prompt has the kind "help"."""
    robustness: Estimate | None
    """None if no attribute prompt is marked as tricked."""
    moved_wrong: Estimate
    next_token_kl: Estimate
    perplexity: Estimate
    choice: MultipleChoice | None
    """None if no attribute prompt has whole true and false answers ("true_answers", "false_answers")."""

    def figures(self) -> dict[str, Estimate]:
        """Every available figure by its name in `HOW`, in that order."""
        figures: dict[str, Estimate | None] = {
            "attribute": self.result.attribute,
            "change": self.against.get(ORIGINAL),
            "robustness": self.robustness,
            "moved wrong": None if self.label == ORIGINAL else self.moved_wrong,
            "utility": self.result.utility,
            "kept": self.result.kept,
            "tokens": self.result.tokens,
            "length drift": self.length_drift,
            **{flaw: self.result.flaws[flaw] for flaw in FLAWS},
            "benign refusal": self.benign_refusal,
            "next-token KL": self.next_token_kl,
            "perplexity": self.perplexity,
            "MC1": self.choice.mc1 if self.choice else None,
            "MC2": self.choice.mc2 if self.choice else None,
        }
        return {name: figure for name, figure in figures.items() if figure is not None}
