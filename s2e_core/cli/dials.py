"""The dials of an edit as options, and from options to settings: their family, and the texts that a gate needs.

Knows which dials go together; every computation is a function of the core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from s2e_core.cache import default_cache, suggest_cached
from s2e_core.data import GateTexts, behavior_gate_texts, example_gate_texts, read_harmless
from s2e_core.errors import SettingsError
from s2e_core.method import rho_for_count
from s2e_core.model import LoadedModel
from s2e_core.settings import EditSettings, Gate
from s2e_core.spec import Kind
from s2e_core.values import ComponentScores, ContrastSet, Extraction

from .arguments import ALL, OFF, chosen_outliers, parse_count, parse_numbers, parse_positive, parse_rho, parse_rhos
from .terminal import ProgressLine, check_exists, load_chosen_behavior

FAMILIES = ELASTIC_NET, BAKED, GATED, SUM = ("elastic-net", "baked", "gated", "sum")
UNTUNED = EditSettings(rho_attn=0.3, rho_mlp=0.8, alpha=0.5)
"""Settings to begin with for examples that nobody has tuned."""
UNTUNED_GATE = Gate(gamma=0.5, mu=10.0)
"""Gate to begin with."""
NET_DIALS = ("rho_attn", "rho_mlp", "alpha", "heads", "neurons")
GATE_DIALS = ("gate", "mu", "gate_size")
GATE_MARK = "gate,"
SETTINGS_FORM = "RHO_ATTN,RHO_MLP,ALPHA[,STRENGTH], gate,GAMMA[,MU[,SIZE]], or both with a + between"
_PARTS = {ELASTIC_NET: (True, False), BAKED: (False, True), GATED: (False, True), SUM: (True, True)}
"""Whether a family has an elastic net, and whether it has a gate."""


def add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rho-attn", type=parse_rho, metavar="RHO", help="budget of the heads, or off")
    parser.add_argument("--rho-mlp", type=parse_rho, metavar="RHO", help="budget of the neurons, or off")
    parser.add_argument("--alpha", type=float, help="L1 share of the budget, 0 <= alpha < 1")
    parser.add_argument("--strength", type=float, help="multiplies the whole edit: every lambda, and a gate too")
    parser.add_argument("--heads", type=parse_count, metavar="N", help="the N strongest heads, instead of --rho-attn")
    parser.add_argument("--neurons", type=parse_count, metavar="N", help="the N strongest neurons, not --rho-mlp")
    _add_gate(parser)


def _add_gate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--family",
        choices=FAMILIES,
        help="elastic-net (the paper's edit), baked or gated steering, or the sum of elastic net and gate; default: "
        "what the other dials say",
    )
    parser.add_argument(
        "--gate", type=float, metavar="GAMMA", help="steer by a gate in the weights, this much; with dials of the "
        "elastic net too, the sum of both"
    )  # fmt: skip
    parser.add_argument(
        "--mu", type=float, help="how strictly the gate is silent on harmless texts (default 10; 0 is baked steering)"
    )
    parser.add_argument(
        "--gate-size", type=parse_size, metavar="N", help="keep the gate to the N components that carry most, or all"
    )
    parser.add_argument(
        "--protect",
        type=parse_count,
        metavar="R",
        help="make the edit silent on the R strongest input directions of harmless texts",
    )
    parser.add_argument(
        "--harmless",
        type=Path,
        metavar="FILE",
        help="harmless prompts for --gate and --protect, one a line or JSONL rows with a prompt (default: the "
        "behaviour's utility prompts, else those that ship with the program)",
    )


def parse_size(text: str) -> int | str:
    """A number of components, or all."""
    return ALL if text == ALL else parse_positive(text)


def wants_suggestion(options: argparse.Namespace) -> bool:
    """Whether the model's own suggested settings are asked for: no dial is given, and the examples bring none."""
    tuned = options.behavior and load_chosen_behavior(options).settings is not None
    return not tuned and not given_options(options, (*NET_DIALS, *GATE_DIALS, "strength", "protect"))


def choose_suggestion(
    options: argparse.Namespace,
    loaded: LoadedModel,
    extraction: Extraction,
    contrast: ContrastSet,
    texts: GateTexts,
    family: str | None = None,
) -> EditSettings:
    """The suggested settings of a family, or without one those with the largest margin.

    Raises SettingsError if no edit of the family stays below the bound.
    """
    with ProgressLine("suggesting") as progress:
        cache = None if options.no_cache else default_cache()
        outliers = chosen_outliers(options)
        suggestions = suggest_cached(
            loaded, extraction, contrast, texts, outliers=outliers, cache=cache, progress=progress
        )
    parts = None if family is None else _PARTS[family]
    for suggestion in suggestions:
        settings = suggestion.settings
        baked = settings.gate is not None and not settings.gate.mu
        if parts is None or (
            parts == (settings.has_elastic_net, settings.gate is not None) and baked == (family == BAKED)
        ):
            return settings
    raise SettingsError(
        f"No edit{f' of the family {family}' if family else ''} was found under the bound of harmless texts. "
        "Give the dials yourself."
    )


def read_settings(options: argparse.Namespace, scores: ComponentScores) -> EditSettings:
    """The behaviour's suggested settings, with every dial that was given; a number of components becomes a rho."""
    return adjust_settings(options, scores, _suggested(options))


def check_settings(options: argparse.Namespace) -> bool:
    """True if the edit is fitted on texts. Called before a model is loaded, which takes longer.

    Raises SettingsError for dials that suit no model or no family, and for harmless prompts that are not used;
    ContrastDataError for harmless prompts that cannot be read.
    """
    check_exists(options.harmless)
    needs_texts = adjust_settings(options, None, _suggested(options)).needs_texts
    if options.harmless is not None:
        if not needs_texts:
            raise SettingsError("--harmless is for a gate or for --protect. Give --gate GAMMA or --protect R too.")
        read_harmless(options.harmless)
    return needs_texts


def choose_texts(options: argparse.Namespace, loaded: LoadedModel, contrast: ContrastSet) -> GateTexts:
    """The behaviour's prompts and harmless ones: those of --harmless, else the behaviour's, else those that ship."""
    if options.behavior:
        return behavior_gate_texts(load_chosen_behavior(options), options.harmless)
    return example_gate_texts(contrast, loaded.source, options.harmless)


def given_options(options: argparse.Namespace, names: Iterable[str]) -> list[str]:
    """The options among `names` that were given, as they are written."""
    given = (name for name in names if getattr(options, name) is not None and getattr(options, name) is not False)
    return [f"--{name.replace('_', '-')}" for name in given]


def adjust_settings(
    options: argparse.Namespace, scores: ComponentScores | None, suggested: EditSettings
) -> EditSettings:
    """The suggested settings with every dial that was given; a number of components needs `scores` to become a rho."""
    has_net, has_gate = _parts(options, suggested)
    gate = _adjust_gate(options, suggested.gate or UNTUNED_GATE) if has_gate else None
    start = suggested if suggested.has_elastic_net or not has_net else UNTUNED
    alpha = start.alpha if options.alpha is None else options.alpha
    attn = _adjust_rho(scores, "heads", start.rho_attn, options.rho_attn, options.heads, alpha)
    mlp = _adjust_rho(scores, "neurons", start.rho_mlp, options.rho_mlp, options.neurons, alpha)
    return EditSettings(
        rho_attn=attn if has_net else None,
        rho_mlp=mlp if has_net else None,
        alpha=alpha,
        strength=_suggested_strength(suggested, has_net) if options.strength is None else options.strength,
        gate=gate,
        protect=suggested.protect if options.protect is None else options.protect,
    )


def parse_settings(text: str) -> str | EditSettings:
    """ "suggested", or an edit by its dials: those of an elastic net, of a gate, or of both with a plus between."""
    if text == "suggested":
        return text
    parts = text.split("+")
    gates = [part for part in parts if part.startswith(GATE_MARK)]
    nets = [part for part in parts if not part.startswith(GATE_MARK)]
    if max(len(gates), len(nets)) > 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not {SETTINGS_FORM}')
    try:
        settings = _parse_net(nets[0]) if nets else EditSettings(None, None, UNTUNED.alpha)
        return replace(settings, gate=_parse_gate(gates[0])) if gates else settings
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parse_net(text: str) -> EditSettings:
    dials = parse_rhos(text)
    if len(dials) not in (3, 4) or OFF in dials[2:]:
        raise argparse.ArgumentTypeError(f'"{text}" is not RHO_ATTN,RHO_MLP,ALPHA[,STRENGTH]')
    attn, mlp = (None if rho == OFF else float(rho) for rho in dials[:2])
    alpha, strength = map(float, (*dials[2:], 1.0)[:2])
    return EditSettings(attn, mlp, alpha, strength=strength)


def _parse_gate(text: str) -> Gate:
    dials = text.removeprefix(GATE_MARK).split(",")
    if len(dials) > 3:
        raise argparse.ArgumentTypeError(f'"{text}" is not gate,GAMMA[,MU[,SIZE]]')
    size = parse_size(dials[2]) if len(dials) == 3 else ALL
    gamma, mu = (*parse_numbers(",".join(dials[:2])), UNTUNED_GATE.mu)[:2]
    return Gate(gamma, mu, None if size == ALL else int(size))


def _suggested(options: argparse.Namespace) -> EditSettings:
    return (load_chosen_behavior(options).settings if options.behavior else None) or UNTUNED


def _suggested_strength(suggested: EditSettings, has_net: bool) -> float:
    """A strength that was tuned for an elastic net says nothing about a gate that stands alone."""
    return suggested.strength if has_net or suggested.gate is not None else 1.0


def _parts(options: argparse.Namespace, suggested: EditSettings) -> tuple[bool, bool]:
    """Whether the edit has an elastic net and whether it has a gate. Raises SettingsError for dials of neither."""
    net, gate = given_options(options, NET_DIALS), given_options(options, GATE_DIALS)
    if options.family is not None:
        has_net, has_gate = _PARTS[options.family]
        wrong = [] if has_net and has_gate else gate if has_net else net
        if wrong:
            raise SettingsError(f"{wrong[0]} is no dial of the family {options.family}. Leave it out, or use sum.")
        return has_net, has_gate
    if gate and options.gate is None and suggested.gate is None:
        raise SettingsError(f"{gate[0]} is a dial of a gate, and there is none. Give --gate GAMMA too.")
    has_gate = bool(gate) or suggested.gate is not None
    kept = suggested.has_elastic_net and (suggested.gate is not None or not has_gate)
    return bool(net) or kept or not has_gate, has_gate


def _adjust_gate(options: argparse.Namespace, suggested: Gate) -> Gate:
    mu = suggested.mu if options.mu is None else options.mu
    if options.family == BAKED:
        if options.mu:
            raise SettingsError("Baked steering has mu 0. Leave --mu out, or use the family gated.")
        mu = 0.0
    elif options.family == GATED and not mu:
        if options.mu is not None:
            raise SettingsError("With --mu 0 a gate fires everywhere. Use the family baked, or a mu above 0.")
        mu = UNTUNED_GATE.mu
    return Gate(
        gamma=suggested.gamma if options.gate is None else options.gate,
        mu=mu,
        size=suggested.size if options.gate_size is None else None if options.gate_size == ALL else options.gate_size,
    )


def _adjust_rho(
    scores: ComponentScores | None,
    kind: Kind,
    suggested: float | None,
    rho: float | Literal["off"] | None,
    count: int | None,
    alpha: float,
) -> float | None:
    if rho is not None and count is not None:
        raise SettingsError(f"Both a rho and a number of {kind} were given; they set the same dial. Give one of them.")
    if count is not None and scores is not None:
        return rho_for_count(scores, kind, count, alpha) if count else None
    if rho is None:
        return suggested
    return None if rho == "off" else rho
