"""What becomes of a person's words in a description that the program writes into, again and again."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fashion_tuning.tracking.notes import (
    BEGIN,
    COLUMN,
    EARLIER_EXPERIMENT,
    EARLIER_RUN,
    EARLIER_VERSION,
    END,
    renew,
    renew_experiment_note,
    renew_version_note,
)
from fashion_tuning.tracking.store import Store

BLOCK = "### Leaderboard\n| rank |\n|---|\n\n### From here\n- final run at 299 px: [x](#/y)"
NEW = "### Leaderboard\n| rank | trial |\n|---|---|\n| 1 | 07 |\n\n### From here\n- no final run yet: `x` makes one"

# As version 0.1.0 wrote it.
EARLIER = """A study of garments.

- data: garments (train 80, validation 40), manifest `0123`
- 2 seeds, at most 2 epochs per trial

### Leaderboard
| rank | trial | learning rate | dense units | dropout | val accuracy |
|---|---|---|---|---|---|
| 1 = | [04](#/experiments/1/runs/42) (chosen) | 0.00253 | 0 | 0 | 0.2125 ± 0.0581 |
| 2 = | [01](#/experiments/1/runs/b9) | 0.001 | 0 | 0 | 0.1500 ± 0.0826 |

and 3 more

`=` ties with the best: paired difference within one standard error

### In words
- The best score, 0.2125, came with the 4th of 4 completed trials (trial 04); no other scores lie within its error.
- The 2 trials that tie, the best among them, have learning rate 0.001 to 0.00253 and dense units 0.
- learning rate: below 0.001 none of the 2 trials ties with the best, the highest is 0.1375.

### From here
- the whole report: artifact `report/report.html`
- no final run yet: `fashion-tuning final-train` makes one"""

words = st.text(alphabet=st.sampled_from("a |#-`<>!\n*[]("), max_size=60)


@given(above=words, below=words, times=st.integers(1, 3))
def test_words_around_the_block_survive_any_number_of_renewals(above: str, below: str, times: int) -> None:
    note = above + renew("", BLOCK, earlier=EARLIER_RUN, limit=8000) + below
    for _ in range(times):
        note = renew(note, NEW, earlier=EARLIER_RUN, limit=8000)
    assert note == f"{above}{BEGIN}\n{NEW}\n{END}{below}"


@given(note=words)
def test_a_block_is_added_below_words_that_have_none_and_stays_one(note: str) -> None:
    renewed = renew(note, BLOCK, earlier=EARLIER_RUN, limit=8000)
    assert renewed.startswith(note) or not note.strip()
    assert renewed == renew(renewed, BLOCK, earlier=EARLIER_RUN, limit=8000)
    assert renewed.count(BEGIN) == renewed.count(END) == 1


@pytest.mark.parametrize("copies", [2, 3])
def test_of_copies_of_the_block_one_is_left_and_the_words_between_them_too(copies: int) -> None:
    block = renew("", BLOCK, earlier=EARLIER_RUN, limit=8000)
    note = renew(" mine ".join([block] * copies), NEW, earlier=EARLIER_RUN, limit=8000)
    assert note == f"{BEGIN}\n{NEW}\n{END}" + " mine " * (copies - 1)


@pytest.mark.parametrize("lost", [BEGIN, END])
def test_a_block_that_has_lost_a_mark_is_found_by_its_lines(lost: str) -> None:
    note = renew("mine", BLOCK, earlier=EARLIER_RUN, limit=8000).replace(lost, "") + "\n\nand mine"
    renewed = renew(note, NEW, earlier=EARLIER_RUN, limit=8000)
    assert renewed.startswith(f"mine\n\n{BEGIN}\n{NEW}\n{END}")
    assert renewed.endswith("and mine")
    assert renewed.count("### Leaderboard") == 1


@pytest.mark.parametrize(
    "added",
    ["\nmy remark", "\n\n### My heading\n- a list\n\n| a | table |\n|---|---|", "\n- one more point of mine"],
)
def test_what_an_earlier_version_wrote_is_taken_over_and_what_a_person_added_stays(added: str) -> None:
    renewed = renew(EARLIER + added, NEW, earlier=EARLIER_RUN, limit=8000)
    own = EARLIER.partition("\n\n### Leaderboard")[0]
    assert renewed == f"{own}\n\n{BEGIN}\n{NEW}\n{END}\n\n{added.strip()}"


def test_a_remark_inside_of_what_an_earlier_version_wrote_stays() -> None:
    note = EARLIER.replace("\n### From here", "\nMine, in between.\n\n### From here")
    renewed = renew(note, NEW, earlier=EARLIER_RUN, limit=8000)
    assert renewed.endswith(f"{END}\n\nMine, in between.")
    assert renewed.count("### From here") == 1


@pytest.mark.parametrize("length", [0, 4000, 7700, 7950, 8000])
def test_the_block_is_shortened_and_never_a_person_s_words(length: int) -> None:
    long = NEW + "\n- more" * 2000
    note = renew("w" * length, long, earlier=EARLIER_RUN, limit=8000)
    assert note.startswith("w" * length)
    assert len(note) <= 8000
    assert ("(shortened for want of room)" in note) == (length < 7800)
    assert renew(note, long, earlier=EARLIER_RUN, limit=8000) == note


def test_of_a_real_experiment_and_version(new_uri, tmp_path: Path) -> None:
    store = Store(new_uri(tmp_path))
    client = store.client
    experiment_id = store.make_experiment("small", description="")
    note = "### Where it stands\n- newest study with a report: [x](y), 4 trials\n- [its trials, best first](z)"
    client.set_experiment_tag(experiment_id, "mlflow.note.content", f"{note}\nmine")
    renew_experiment_note(store, experiment_id, "### Where it stands\n- new")
    tags = client.get_experiment(experiment_id).tags
    assert tags["mlflow.note.content"] == f"{BEGIN}\n### Where it stands\n- new\n{END}\n\nmine"
    client.create_registered_model("m")
    opening = "Suggests the category of a garment from its photo: hat."
    card = f"{opening}\n\n### Data\n\n### Limits\n- Classes are not equally many."
    number = client.create_model_version("m", "runs:/0/model", description=f"{card}\nNot for sale.").version
    for _ in range(2):
        renew_version_note(store, "m", number, card.replace("many", "frequent"))
        client.update_model_version("m", number, client.get_model_version("m", number).description + "!")
    said = client.get_model_version("m", number).description
    assert said == f"{BEGIN}\n{card.replace('many', 'frequent')}\n{END}\n\nNot for sale.!!"
    assert len(said) < COLUMN


def test_the_patterns_know_what_the_sections_are_called() -> None:
    assert [next(iter(layout)) for layout in (EARLIER_RUN, EARLIER_EXPERIMENT, EARLIER_VERSION)] == [
        "### Leaderboard",
        "### Where it stands",
        "### Data",
    ]
