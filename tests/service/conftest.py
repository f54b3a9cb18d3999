"""A registry with a champion, for what is done with one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fashion_tuning.final.job import make_job
from fashion_tuning.final.train import final_train
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.tracking.store import Store


@pytest.fixture(scope="session")
def make_champion(
    tmp_path_factory: pytest.TempPathFactory,
    new_uri: Callable[[Path], str],
    inputs_of_text: Callable[[str], StudyInputs],
    worker: Worker,
) -> Callable[[str], str]:
    """A function from a fixed card's text to the URI of a store in which its model is champion."""

    def make(card_text: str) -> str:
        uri = new_uri(tmp_path_factory.mktemp("registry"))
        job = make_job(inputs_of_text(card_text), Store(uri), None, top=1)
        final_train(job, Store(uri), workers=[worker], report=lambda _: None, tell=lambda _: None)
        return uri

    return make
