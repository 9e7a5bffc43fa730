"""Blocks that were trained, looked at: do they attend?"""

import pytest
from support import records, run_thin

pytestmark = pytest.mark.slow           # dozens of steps


@pytest.mark.parametrize("block", ["pre_norm_cosine", "paper"])
def test_blocks_attend_after_training_and_the_papers_do_not(
        shallow, tmp_path, block):
    """A thin network on digits, 44 steps of Adam at 1e-2."""
    pytest.importorskip("sklearn")
    _, said = run_thin(
        str(tmp_path / "digits"), tmp_path / "out", dataset="digits", epoch=1,
        batch_size=32, base_width=8, non_local="res3:0;res4:0",
        block=block, learning_rate=1e-2)
    rows = records(tmp_path / "out", "epoch")[-1]["attention"]
    assert [row["block"] for row in rows] == ["res3/0", "res4/0"]
    alive = [0.02 <= row["entropy"] <= 0.98
             and row["query_dependence"] >= 0.2 for row in rows]
    assert all(row["largest_score"] < 1000 for row in rows) or block == "paper"
    assert all(alive) == (block != "paper"), rows
    assert ("WARNING: attention is dead in" in said) == (block == "paper")
