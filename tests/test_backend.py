"""Which backend Keras gets: what is named, else what is installed; a clear word where that can't be."""

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import clean_environment, run

CHOOSE = """
import importlib.util
import os
importlib.util.find_spec = lambda name: None if name in {missing!r} else object()
from fashion_tuning.backend import choose_backend
from fashion_tuning.errors import UsageError
try:
    print(choose_backend(), os.environ["KERAS_BACKEND"])
except UsageError as error:
    print(error)
"""


def chosen(folder: Path, *, named: str, missing: tuple[str, ...] = ()) -> str:
    """What a fresh process chooses; `missing` are not installed, in its eyes."""
    done = subprocess.run(
        [sys.executable, "-c", CHOOSE.format(missing=missing)],
        cwd=folder,
        env=clean_environment(folder, KERAS_BACKEND=named),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("named", ["tensorflow", "torch"])
def test_what_is_named_is_taken(tmp_path: Path, named: str) -> None:
    assert chosen(tmp_path, named=named) == f"{named} {named}"


def test_unnamed_it_is_what_is_installed_tensorflow_first(tmp_path: Path) -> None:
    assert chosen(tmp_path, named="") == "tensorflow tensorflow"
    assert chosen(tmp_path, named="", missing=("tensorflow",)) == "torch torch"


def test_what_can_not_be_had_is_said(tmp_path: Path) -> None:
    said = chosen(tmp_path, named="torch", missing=("torch",))
    assert "KERAS_BACKEND=torch, and torch is not installed" in said
    assert "pip install torch, or unset KERAS_BACKEND" in said
    assert "neither TensorFlow nor PyTorch" in chosen(tmp_path, named="", missing=("tensorflow", "torch"))
    assert "expected: tensorflow or torch" in chosen(tmp_path, named="numpy")


def test_a_command_ends_with_2_and_help_is_there_all_the_same(tmp_path: Path) -> None:
    done = run("leaderboard", folder=tmp_path, KERAS_BACKEND="theano")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "fashion-tuning: KERAS_BACKEND=theano",
        "expected: tensorflow or torch",
        "what to do: unset KERAS_BACKEND, or name one of them",
    ]
    assert run("--help", folder=tmp_path, KERAS_BACKEND="theano").returncode == 0


def test_where_keras_runs_already_its_backend_is_named(tmp_path: Path) -> None:
    program = "import keras, os; os.environ['KERAS_BACKEND'] = 'theano'\n"
    program += "from fashion_tuning.backend import choose_backend; print(choose_backend(), keras.config.backend())"
    done = subprocess.run(
        [sys.executable, "-c", program], env=clean_environment(tmp_path), capture_output=True, text=True, check=True
    )
    first, second = done.stdout.split()
    assert first == second


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"floatx": "bfloat16"}', 'keras.json: floatx = "bfloat16"'),
        ('{"epsilon": 1}', "keras.json: epsilon = 1"),
        ('{"image_data_format": null}', "keras.json: image_data_format = null"),
        ("[]", "keras.json: [] is no table"),
    ],
)
def test_a_file_that_keras_can_not_start_with_is_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "keras.json").write_text(content)
    done = run("leaderboard", folder=tmp_path, KERAS_HOME=str(tmp_path))
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[0]
    assert done.stderr.splitlines()[-1] == "what to do: mend it, or remove it: nothing in it is used here"


@pytest.mark.parametrize("content", ["", '{"floatx": "float16", "epsilon": 0.5, "nonsense": 1}'])
def test_a_file_that_it_can_start_with_is_no_matter(tmp_path: Path, content: str) -> None:
    (tmp_path / "keras.json").write_text(content)
    done = run("cache", "list", folder=tmp_path, KERAS_HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_variables_that_are_left_aside_are_named_once(tmp_path: Path) -> None:
    done = run("cache", "list", folder=tmp_path, TF_ENABLE_ONEDNN_OPTS="0", ONEDNN_MAX_CPU_ISA="AVX2")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "ONEDNN_MAX_CPU_ISA, TF_ENABLE_ONEDNN_OPTS: left aside, what a result depends on is set by the program"
    ]
