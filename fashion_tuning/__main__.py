"""`python -m fashion_tuning`."""

from fashion_tuning.cli import main

main()
