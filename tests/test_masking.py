"""Passwords and tokens are shown to nobody."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from requests.utils import get_auth_from_url
from sqlalchemy.engine import make_url

from fashion_tuning.errors import StoreError
from fashion_tuning.masking import encode_password, leave_password_out, mask, mask_address, mask_error

# Any text may be a password. The marks tell it from what stands around it anyway, as in "p" of http://.
PASSWORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).map(lambda text: f"«{text}»")
NASTY = st.text("@:/?#&;=%[]'\"\\ +,!$*()<>{}|^`~\t\nä€", min_size=1, max_size=8).map(lambda text: f"«{text}»")
SCHEMES = st.sampled_from(["http", "https", "postgresql", "postgresql+psycopg2", "mysql+pymysql", "mssql+pyodbc"])


def hidden(password: str, text: str) -> bool:
    """Neither the password nor any form in which it may stand in an address is in a text."""
    forms = {
        password,
        quote(password),
        quote(password, safe=""),
        quote(password, safe="").lower(),
        repr(password)[1:-1],
    }
    return not any(form in text for form in forms) and "«" not in unquote(text) and "»" not in unquote(text)


@given(SCHEMES, PASSWORDS | NASTY, st.booleans())
@example("http", "«p@ss/w:rd»", False)
@example("http", "«12/34»", False)
@example("postgresql", "«a?b#c»", False)
@example("http", "«%40»", False)
def test_an_address_is_shown_without_its_password(scheme: str, password: str, encoded: bool) -> None:
    typed = quote(password, safe="") if encoded else password
    address = f"{scheme}://ana:{typed}@host:5000/place"
    shown = mask_address(address)
    assert hidden(password, shown)
    assert shown == f"{scheme}://ana:***@host:5000/place"
    assert mask_address(shown) == shown


@given(SCHEMES, PASSWORDS | NASTY)
def test_what_a_library_says_of_an_address_is_masked(scheme: str, password: str) -> None:
    address = encode_password(f"{scheme}://ana:{quote(password, safe='')}@host:5000/place")
    said = f"API request to {address}/api/2.0/mlflow/runs/get failed with exception for url: '{address}' (a@b)"
    assert hidden(password, mask(said))
    assert "/api/2.0/mlflow/runs/get failed with exception for url: 'h" in mask(said).replace(scheme, "h")


@given(NASTY)
def test_a_password_that_nobody_has_encoded_is_what_its_library_gets(password: str) -> None:
    assume("%" not in password)  # which means that it is encoded
    opened = encode_password(f"http://ana:{password}@host:5000/place")
    assert get_auth_from_url(opened) == ("ana", password)
    assert urlsplit(opened).port == 5000
    assume("@" not in password or not set(password) & set("/?#"))  # a database's query may have one
    assert make_url(encode_password(f"postgresql://ana:{password}@host/db")).password == password


@pytest.mark.parametrize(
    "address",
    [
        "sqlite:////home/ana@corp/50%/mlflow.db",
        "http://127.0.0.1:5000",
        "http://[::1]:5000/prefix",
        "https://ana@host/ml",
        "databricks://profile",
        "postgresql://host:5432/db",
        "http://host:5000/a@b",
        "localhost:5000",
        "mlflow.db",
    ],
)
def test_an_address_without_a_password_stays_as_it_is(address: str) -> None:
    assert encode_password(address) == address
    if address != "http://host:5000/a@b":  # which may as well be an odd password
        assert leave_password_out(address) == (address if address.startswith("http") else None)
        assert mask_address(address) == address


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://ana:geheim@host", "http://ana:***@host"),
        ("ana:geheim@host:5000", "ana:***@host:5000"),
        ("http://:geheim@[::1]:5000", "http://:***@[::1]:5000"),
        ("http://host/?token=geheim&a=b", "http://host/?token=***&a=b"),
        ("postgresql://host/db?user=ana&password=geheim", "postgresql://host/db?user=ana&password=***"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Dgeheim", "mssql+pyodbc:///?odbc_connect=***"),
        ("https://s3/b/k?X-Amz-Signature=geheim&X-Amz-Security-Token=geheim", None),
    ],
)
def test_every_place_of_a_password(address: str, shown: str | None) -> None:
    assert "geheim" not in mask(f"no: {address}") if "://" in address else True
    assert "geheim" not in mask_address(address)
    assert shown is None or mask_address(address) == shown


def test_a_known_password_is_masked_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    encode_password("http://ana:first%20unlikely@host")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "second-unlikely\n")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "third+unlikely/")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "short")
    monkeypatch.setenv("SOME_TOKEN_FILE", "/run/secrets/token")
    said = mask("'first unlikely' first%20unlikely, 'Bearer second-unlikely\\n', third+unlikely/ /run/secrets/token")
    assert said == "'***' ***, 'Bearer ***\\n', *** /run/secrets/token"
    assert mask("a short word") == "a short word"
    monkeypatch.setenv("PWD", "/home/ana/project")
    assert mask("/home/ana/project") == "/home/ana/project"


def test_errors_are_masked_with_all_that_led_to_them() -> None:
    address = "http://ana:geheim@host"
    assert "geheim" not in str(StoreError(f"no {address}", expected=address, action=f"open {address}"))
    error = MlflowException(f"API request to {address} failed")
    error.__cause__ = ValueError(f"can't parse {address}")
    mask_error(error)
    assert "geheim" not in f"{error} {error.message} {error.__cause__}"
    assert "API request to http://ana:***@host failed" in str(error)


def test_a_server_gets_its_password_from_the_environment_and_a_database_does_not() -> None:
    assert leave_password_out("http://ana:p@ss@host:5000/ml") == "http://host:5000/ml"
    assert leave_password_out("http://ana:p@host/?token=x") is None
    assert leave_password_out("postgresql://ana:p@host/db") is None
