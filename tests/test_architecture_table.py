"""The README's table of architectures names every model type once, and a sample of its rows is still true."""

from __future__ import annotations

import re

import pytest
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tests.architecture_table import CHECKS, Row, measured, table, written_table

SAMPLE = ("llama", "gpt2", "lfm2", "hrm_text", "mllama", "mixtral", "mamba", "zamba", "xlnet", "prophetnet", "gemma3n")


def written_rows() -> dict[str, tuple[str, ...]]:
    """Model type -> the cells behind its name."""
    found: dict[str, tuple[str, ...]] = {}
    for line in written_table().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if named := re.match(r"\*\*(\d+)\*\*: (.*)", cells[0].strip()):
            names = named[2].split(", ")
            assert len(names) == int(named[1])
            assert not found.keys() & set(names)
            found |= dict.fromkeys(names, tuple(cells[1:]))
    return found


def test_every_model_type_of_transformers_is_in_the_table_once():
    assert sorted(written_rows()) == sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


@pytest.mark.parametrize("model_type", SAMPLE)
def test_a_sample_of_the_rows_is_still_true(model_type):
    assert written_rows()[model_type] == measured(model_type).group


def test_outcomes_are_grouped_and_counted():
    alike = (True, False, "refused", True)
    rows = [Row("b", alike), Row("a", alike), Row("c", (), "no heads")]
    lines = table(rows).splitlines()
    assert lines[1] == "<summary>2 of 3 model types can be edited: all by name</summary>"
    assert lines[3] == f"| can be edited | {' | '.join(CHECKS)} |"
    assert lines[5] == "| **2**: a, b | yes | **no** | refused, with a sentence | yes |"
    assert lines[-1] == "| **1**: c | no heads |"
