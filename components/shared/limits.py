"""What one visitor may ask of a shared machine, in one place; shown on the page and set on the command line."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    prompt_chars: int = 2000
    new_tokens: int = 256
    examples: int = 2000
    """Per side of a contrast set."""
    example_chars: int = 4000
    file_megabytes: int = 20
    table_rows: int = 300
    sweep_settings: int = 200
    """Of one search or sweep."""
    sweep_prompts: int = 150
    """Of each side, attribute and utility."""
    waiting: int = 32
    """Requests in the queue before new ones are refused."""
    scored_sets: int = 32
    """Finished extractions kept in memory."""
    scored_megabytes: int = 2000
    """Memory for what their gates are fitted on; the latest one is kept whatever its size."""
    models: int = 2
    """Models kept in memory."""

    def examples_sentence(self) -> str:
        return (
            f"At most {self.examples:,} examples a side, of {self.example_chars:,} characters each, in files of up to "
            f"{self.file_megabytes} MB."
        )

    def sentence(self) -> str:
        return (
            f"Limits: prompts of {self.prompt_chars:,} characters, answers of {self.new_tokens} tokens, "
            f"{self.examples:,} examples a side, files of {self.file_megabytes} MB; one sweep of "
            f"{self.sweep_settings:,} settings and {self.sweep_prompts:,} prompts a side at a time."
        )
