"""The subcommands of ``damonpolicy report``, one file each."""
