"""What people type as a tracking URI that is none, and what they are told."""

import pytest

from fashion_tuning.errors import StoreError
from fashion_tuning.tracking.addresses import refuse_mistaken

MEANT = {
    "localhost:5000": "http://localhost:5000",
    "127.0.0.1:5000": "http://127.0.0.1:5000",
    "[::1]:5000": "http://[::1]:5000",
    "mlflow.example.com:443/team": "http://mlflow.example.com:443/team",
    "http:localhost:5000": "http://localhost:5000",
    "https:/mlflow.example.com": "https://mlflow.example.com",
    "mlflow.db": "sqlite:///mlflow.db",
    "/somewhere/runs.sqlite": "sqlite:////somewhere/runs.sqlite",
    "sqlite:mlflow.db": "sqlite:///mlflow.db",
    "sqlite://mlflow.db": "sqlite:///mlflow.db",
    "sqlite:/somewhere/mlflow.db": "sqlite:////somewhere/mlflow.db",
    "postgres://host/runs": "postgresql://host/runs",
}
TOLD = {
    "databricks": "a Databricks workspace",
    "databricks://profile": "a Databricks workspace",
    "databricks-uc": "a Databricks workspace",
    "uc:http://127.0.0.1:8080": "a Databricks workspace",
    "s3://bucket/runs": "a place for artifacts",
    "mlflow-artifacts:/runs": "a place for artifacts",
    "mlruns": "is a folder",
    "./runs": "is a folder",
    "file:///somewhere/mlruns": "is a folder",
    "http://": "names no host",
}


@pytest.mark.parametrize("uri", MEANT)
def test_what_was_meant_is_named(uri: str) -> None:
    with pytest.raises(StoreError) as caught:
        refuse_mistaken(uri)
    assert caught.value.action == f"did you mean {MEANT[uri]}?"
    refuse_mistaken(MEANT[uri])


@pytest.mark.parametrize("uri", TOLD)
def test_what_can_not_be_used_is_told(uri: str) -> None:
    with pytest.raises(StoreError, match=TOLD[uri]) as caught:
        refuse_mistaken(uri)
    assert caught.value.expected
    assert "http://HOST:PORT" in caught.value.action


def test_a_password_is_not_told() -> None:
    for uri in ("someone:secret@host:5000", "someone:secret@host", "postgres://someone:sec@ret@host/runs"):
        with pytest.raises(StoreError) as caught:
            refuse_mistaken(uri)
        assert "someone:***@host" in str(caught.value)
        assert "sec" not in str(caught.value).replace("postgres", "")


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////somewhere/mlflow.db",
        "http://host:5000",
        "HTTPS://host/x",
        "postgresql+psycopg2://u:p@h/d",
        "plugin://x",
    ],
)
def test_stores_and_what_a_plugin_may_know_pass(uri: str) -> None:
    refuse_mistaken(uri)
