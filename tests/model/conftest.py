"""This room's tests run with the settings that the worker process makes."""

import os

import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")


@pytest.fixture(scope="session", autouse=True)
def _prepared() -> None:
    from fashion_tuning.model import engine

    engine.prepare()
