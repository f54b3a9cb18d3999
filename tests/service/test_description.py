"""The API against its own description: schemathesis makes up requests, and no answer may be a surprise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from serving import Server, serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ADDRESSES = [
    ("POST", "/v1/predict"),
    ("GET", "/v1/categories"),
    ("POST", "/v1/feedback"),
    ("POST", "/v1/reload"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("described")
    with serve(folder, "--model", str(model), "--rate", "0", "--feedback", "choices.db") as server:
        yield server


@pytest.fixture(scope="module")
def described(server: Server) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


def test_every_address_is_described(described: schemathesis.BaseSchema) -> None:
    assert {(one.ok().method.upper(), one.ok().path) for one in described.get_all_operations()} == set(ADDRESSES)


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_no_answer_is_a_surprise(described: schemathesis.BaseSchema, method: str, path: str) -> None:
    @given(case=described[path][method].as_strategy())
    @settings(
        max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate], database=None
    )
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS, timeout=60)

    ask()
