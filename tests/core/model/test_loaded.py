"""What a loaded model says about itself: its context length, and the provenance of values computed with it."""

from __future__ import annotations

from s2e_core.values import Provenance
from tests.families import in_memory, tiny_model


def test_the_context_length_is_the_configurations_and_may_be_unknown(llama):
    assert llama.context_length == llama.model.config.max_position_embeddings
    assert in_memory(tiny_model("bloom")).context_length is None


def test_provenance_names_the_model_and_the_examples(llama):
    provenance = llama.provenance("mood", "c0ffee")
    assert isinstance(provenance, Provenance)
    assert (provenance.model_id, provenance.revision, provenance.fingerprint) == (
        llama.model_id,
        llama.revision,
        llama.fingerprint,
    )
    assert (provenance.contrast_name, provenance.contrast_hash) == ("mood", "c0ffee")
