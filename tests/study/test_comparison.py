"""What is told apart of two studies."""

from small_card import make_card

from fashion_tuning.config import Card
from fashion_tuning.digest import Study
from fashion_tuning.study.comparison import KINDS


def test_every_part_of_a_digest_is_compared() -> None:
    """Views, pruning and a teacher too, which a card may have."""
    card = make_card("random").model_dump()
    more = {"views": {"number": 1, "horizontal_flip": True}, "pruning": {"rule": "median"}, "teacher": {"study": "it"}}
    space = {**card["space"], "distillation": {"type": "fixed", "value": 0.5}}
    card = Card.model_validate({**card, **more, "space": space})
    assert {key for keys in KINDS.values() for key in keys} == set(Study(card=card, inputs={}).parts())
