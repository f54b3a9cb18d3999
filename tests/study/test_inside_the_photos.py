"""The program started inside the folder of photos: what it writes there is never taken for photos."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from command_line import PROGRAM, clean_environment
from small_card import make_card_text

from fashion_tuning.data.source import Dataset
from fashion_tuning.model.weights import Weights


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_is_the_same_one_after_its_own_outputs_lie_among_the_photos(
    tmp_path: Path, small_dataset: Dataset, weights: Weights
) -> None:
    root = tmp_path / "garments"
    shutil.copytree(small_dataset.root / "train", root)  # one folder per class
    (root / "cache").mkdir()
    (root / "cache" / "weights").symlink_to(weights.path.parent)
    (root / "card.toml").write_text(make_card_text())
    environment = clean_environment(tmp_path, FASHION_TUNING_DATA=".", FASHION_TUNING_CACHE="cache")

    def typed(*words: str) -> str:
        done = subprocess.run(
            [*PROGRAM, *words], cwd=root, env=environment, capture_output=True, text=True, timeout=400, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    before = json.loads(typed("data", "--json"))
    first = typed("tune", "card.toml")
    assert {"mlruns", "mlflow.db", "reports", "cache"} < {path.name for path in root.iterdir()}
    again = typed("tune", "card.toml")
    assert "2 are there already" in again
    assert first.partition("study ")[2][:16] == again.partition("study ")[2][:16]
    assert json.loads(typed("data", "--json")) == before
    assert before["left_out"] == []
