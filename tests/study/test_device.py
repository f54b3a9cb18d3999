"""A study on another kind of device is another study; what was made there is not taken for what is made here."""

from dataclasses import replace

import pytest
from small_card import make_card_text

from fashion_tuning.model import key as key_module
from fashion_tuning.study.differences import differences


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The framework answers as it does where there is a GPU."""
    monkeypatch.setattr(key_module, "device_kind", lambda: "gpu")


def test_a_study_on_a_gpu_is_another_study(inputs_of_text, request: pytest.FixtureRequest) -> None:
    inputs = inputs_of_text(make_card_text("random", "max_trials = 2"))
    here = inputs.study
    assert "device" not in here.inputs
    request.getfixturevalue("on_gpu")
    there = inputs.study
    assert there.inputs["device"] == "gpu"
    assert there.digest != here.digest
    assert differences(here.parts(), there.parts()) == ("inputs.device: cpu -> gpu",)
    (key,) = inputs.keys.values()
    assert {ref.folder.name for ref in inputs.features.of_card()} == {key.digest}
    assert replace(key, device="cpu").digest != key.digest


@pytest.mark.usefixtures("on_gpu")
def test_exact_features_are_of_the_device_that_is_here(inputs_of_text) -> None:
    (key,) = inputs_of_text(make_card_text("random", "max_trials = 2")).keys.values()
    assert key.device == "gpu"
    assert key.exact == key
    assert key_module.FeatureKey.of_parts(key.parts()) == key
