"""``python -m damonpolicy`` is the ``damonpolicy`` command."""

from damonpolicy.cli.main import main

if __name__ == "__main__":
    main()
