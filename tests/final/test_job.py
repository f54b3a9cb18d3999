"""What the final run trains beside the study's configurations."""

from collections.abc import Callable
from dataclasses import replace

from small_card import make_card_text, make_wide_text

from fashion_tuning.final.job import COURSE, Job
from fashion_tuning.study.inputs import StudyInputs


def job(inputs: StudyInputs) -> Job:
    return Job(inputs.card, inputs, None, (), ())


def test_the_baseline_is_the_courses_configuration(inputs_of_text: Callable[[str], StudyInputs]) -> None:
    assert job(inputs_of_text(make_card_text())).baseline == COURSE


def test_the_baseline_has_no_views_and_averages_alone_whatever_the_card_has(
    inputs_of_text: Callable[[str], StudyInputs],
) -> None:
    wide = job(inputs_of_text(make_wide_text()))
    assert wide.baseline == {**COURSE, "views": 1, "pooling": "avg"}
    without = wide.card.model_copy(update={"views": None})
    assert replace(wide, card=without).baseline == {**COURSE, "pooling": "avg"}
