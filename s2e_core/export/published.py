"""The names of the class that a checkpoint names, where only the text model inside it is loaded.

Knows the names of stored tensors and the configuration. A server runs the published class, where an adapter must fit.
"""

from __future__ import annotations

import json

from s2e_core.files import open_checkpoint
from s2e_core.model import LoadedModel


def published_prefix(loaded: LoadedModel) -> tuple[str, str] | None:
    """Beginning of a site's name in the loaded class and in the published one; None if there is no difference.

    Such as ("model.", "model.language_model.") for Qwen 3.5, whose published class reads images too.
    """
    config = json.loads((loaded.source / "config.json").read_text(encoding="utf-8"))
    named = config.get("architectures") or [type(loaded.model).__name__]
    plain = next((site for site in loaded.spec.sites if not site.experts), None)
    if type(loaded.model).__name__ in named or plain is None:
        return None
    stored = open_checkpoint(loaded.source).tensors()
    parts = plain.name.split(".")
    for k in range(1, len(parts)):
        rest = ".".join(parts[k:])
        found = [name for name in stored if name.endswith(f".{rest}.{plain.parameter}")]
        if len(found) == 1:
            here, there = plain.name.removesuffix(rest), found[0].removesuffix(f"{rest}.{plain.parameter}")
            return None if here == there else (here, there)
    return None
