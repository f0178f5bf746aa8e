"""What the tests of the commands share: a behaviour so small that measuring it takes seconds."""

import pytest

from s2e_core.data import BUNDLED_BEHAVIORS


@pytest.fixture(scope="session")
def small_behavior(tmp_path_factory):
    """A behaviour of one's own: the folder of the bundled `tone` with few of its rows."""
    source, folder = BUNDLED_BEHAVIORS / "tone", tmp_path_factory.mktemp("behaviors") / "mood"
    folder.mkdir()
    (folder / "behavior.json").write_bytes((source / "behavior.json").read_bytes())
    for name, count in (("contrast", 24), ("attribute", 8), ("utility", 10)):
        lines = (source / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        (folder / f"{name}.jsonl").write_text("\n".join(lines[:: len(lines) // count]), encoding="utf-8")
    return folder
