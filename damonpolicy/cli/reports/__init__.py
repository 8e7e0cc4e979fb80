"""The subcommands of ``damonpolicy report``, one file for each."""
