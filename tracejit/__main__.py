"""The command line as ``python -m tracejit``."""

from .cli.main import main

if __name__ == "__main__":
    main(prog_name="tracejit")
