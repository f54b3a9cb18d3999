"""`python -m fashion_tuning`."""

from fashion_tuning.cli import main

if __name__ == "__main__":
    main()
