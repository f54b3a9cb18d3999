"""`python -m fashion_tuning`."""

from fashion_tuning.main import main

if __name__ == "__main__":
    main()
