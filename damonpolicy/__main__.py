"""Run the ``damonpolicy`` command as ``python -m damonpolicy``."""

from damonpolicy.cli.main import main

if __name__ == "__main__":
    main()
