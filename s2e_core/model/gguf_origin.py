"""The GGUF file from which a loaded model was made, as a value for the card of an export and for the user.

Knows no format; the loader fills it in.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, eq=False)
class GGUFOrigin:
    """A GGUF file and the ordinary checkpoint that was made from it once."""

    path: Path
    """The GGUF file."""
    repository: str
    """Hub id of the repository that contains the file; empty for a local file."""
    file: str
    """Path of the file inside its repository or folder, as transformers takes it (`gguf_file`)."""
    formats: str
    """Number formats of the matrices in the file, the most frequent first, such as "Q4_1 and Q8_0"."""
    dtype: str
    """Number format of the checkpoint, such as "float16"."""

    def sentence(self) -> str:
        """Where the numbers of the model and of an export come from, for the user."""
        return f"The weights come from a GGUF file ({self.formats}), converted to {self.dtype}."
