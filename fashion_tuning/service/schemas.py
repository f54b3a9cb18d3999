"""What the API answers, as /openapi.json describes it."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ModelName(BaseModel):
    """Which model answers."""

    name: str = Field(examples=["fashion-classifier"])
    version: str = Field(examples=["1"])


class Suggestion(BaseModel):
    """A category and how likely it is."""

    category: str = Field(examples=["t-shirt"])
    probability: float = Field(ge=0, le=1)


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(description="A link into /docs.", examples=["/docs#unreadable"])
    title: str
    status: int
    detail: str = Field(description="What was received, what was expected, what to do.")
    request_id: str


class Result(BaseModel):
    """What the model says of one picture, or why it says nothing."""

    id: str = Field(description="Names this answer, for /v1/feedback.")
    file: str = Field(description="The file's name as it was sent.")
    category: str | None = Field(default=None, description="The likeliest; null where the file can't be read.")
    probability: float | None = Field(default=None, description="Of that category.")
    unsure: bool = Field(
        default=False,
        description="Below the probability from which on 95% of validation answers are right.",
    )
    categories: list[Suggestion] = Field(default_factory=list, description="All of them, the likeliest first.")
    problem: Problem | None = None


class Answers(BaseModel):
    """One result for each picture, in order."""

    request_id: str
    model: ModelName
    results: list[Result]


class Categories(BaseModel):
    """What the model knows, and what this server takes."""

    request_id: str
    model: ModelName
    categories: list[str]
    views: int = Field(description="How many views of a picture an answer is the mean of; 1: the picture alone.")
    unsure_below: float | None = Field(description="Answers below this probability are unsure; null: not on record.")
    feedback: bool = Field(description="Whether /v1/feedback stores anything.")
    max_body_bytes: int
    max_pixels: int
    max_files: int


class Reloaded(BaseModel):
    """Which model answers now, and whether it is another one than before."""

    request_id: str
    model: ModelName
    changed: bool


class State(BaseModel):
    """How the server is."""

    request_id: str
    status: str = Field(examples=["ok"])


class Stored(BaseModel):
    """What was stored of a person's choice."""

    request_id: str
    category: str
    image: bool = Field(description="Whether the picture is stored too, which takes consent.")
