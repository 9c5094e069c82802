"""`python -m installation`, the same as the console script."""

from installation.cli import main

if __name__ == "__main__":
    main()
