"""The only importer of MLflow; what has to be set before that is imported."""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# A command's results go to standard output, and nothing else.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# Waiting for a server is done in patience.py, where a person is told of it; MLflow's own retries are silent.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
# They would stand among what a person is told.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# Files go through the server: the addresses that it signs for others lead to its own storage, by a name that may be
# known to nobody else, and their signatures stand in errors.
os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")
os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "false")
# Every failure is worded in failures.py; MLflow logs each one too, with its traceback, and much else.
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
