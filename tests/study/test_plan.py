"""Whether what a study will write fits on its disks, before it starts."""

import shutil
from pathlib import Path

import pytest

from fashion_tuning.errors import DiskError
from fashion_tuning.study.plan import Cost, require_disk
from fashion_tuning.tracking.store import Store


@pytest.mark.parametrize(
    ("features", "checkpoints", "message"),
    [
        (0.6, 0.1, ""),
        (0.1, 0.6, ""),
        (1.5, 0.0, r"(?m)features may need \S+ \wB$"),
        (0.0, 1.5, r"(?m)checkpoints may need \S+ \wB$"),
        (0.6, 0.6, "checkpoints may need .* with .* of features beside them"),  # each fits alone
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, new_uri, features: float, checkpoints: float, message: str
) -> None:
    """In shares of the space that is free on the disk that both are on."""
    store = Store(new_uri(tmp_path / "store"))
    free = shutil.disk_usage(tmp_path).free
    cost = Cost(0, 0, 0.0, checkpoint_bytes=int(checkpoints * free), feature_bytes=int(features * free))
    if not message:
        require_disk(cost, store=store, cache_dir=tmp_path / "cache")
        return
    with pytest.raises(DiskError) as caught:
        require_disk(cost, store=store, cache_dir=tmp_path / "cache")
    caught.match(message)
