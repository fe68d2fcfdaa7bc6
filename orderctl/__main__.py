"""`python -m orderctl`, the same as the installed `orderctl`."""

from orderctl.cli import main

if __name__ == "__main__":
    main()
