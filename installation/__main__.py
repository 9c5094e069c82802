"""`python -m installation`, the same as the console script."""

from installation.cli.app import main

if __name__ == "__main__":
    main()
