"""Entry point of the `driftline` command; the commands are in `stream.cli`, by subject."""

from stream.cli import main

if __name__ == "__main__":
    main()
