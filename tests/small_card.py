"""The card of the small studies in this room's tests."""

from fashion_tuning.config import Card, parse_card

CARD = """
name = "small"
seed = 3
[images]
image_size = 71
[training]
epochs = 2
seeds = 2
{search}
[[configurations]]
learning_rate = 0.001
dense_units = 0
dropout = 0.0
source = "first"
published_val_accuracy = 0.5
[[configurations]]
learning_rate = 0.0005
dense_units = 10
dropout = 0.2
"""

SEARCH = """
[search]
tuner = "{tuner}"
{settings}
[space.learning_rate]
type = "float"
min_value = 1e-4
max_value = 1e-2
sampling = "log"
[space.dense_units]
type = "choice"
values = [0, 10]
[space.dropout]
type = "float"
min_value = 0.0
max_value = 0.4
step = 0.2
"""


def make_card_text(tuner: str | None = None, settings: str = "max_trials = 5") -> str:
    """The small card: a list of two configurations, and a search where a tuner is named."""
    return CARD.format(search=SEARCH.format(tuner=tuner, settings=settings) if tuner else "")


def make_card(tuner: str | None = None, settings: str = "max_trials = 5", **changes: object) -> Card:
    """The small card, read."""
    card = parse_card(make_card_text(tuner, settings), name="small.toml")
    return card.model_copy(update=changes) if changes else card


def make_wide_text(num_trials: int = 12) -> str:
    """A card that searches what may be named beside the usual three, conditional ones among them."""
    text = make_card_text("bayesian", f"max_trials = {num_trials}\nnum_initial_points = {num_trials - 3}")
    return text.replace("values = [0, 10]", "values = [0, 10, 50]") + WIDE


WIDE = """
[views]
number = 1
average = true
horizontal_flip = true
[space.views]
type = "choice"
values = [1, 2]
[space.pooling]
type = "choice"
values = ["avg", "max", "both"]
[space.dense_layers]
type = "int"
min_value = 1
max_value = 2
[space.dense_units_2]
type = "choice"
values = [10, 20]
[space.activation]
type = "choice"
values = ["relu", "gelu", "tanh"]
[space.label_smoothing]
type = "float"
min_value = 0.0
max_value = 0.2
step = 0.1
[space.batch_size]
type = "choice"
values = [16, 32]
[space.optimizer]
type = "choice"
values = ["adam", "adamw", "sgd"]
[space.weight_decay]
type = "float"
min_value = 1e-4
max_value = 1e-1
sampling = "log"
[space.schedule]
type = "fixed"
value = "cosine"
[space.ema_momentum]
type = "fixed"
value = 0.5
"""


# What the tests of crashes, outages and broken files run, and compare with its unbroken twin.
BAYESIAN = make_card_text("bayesian", "max_trials = 4\nnum_initial_points = 2")
