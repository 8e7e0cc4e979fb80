"""Floor 7: the service that keeps a machine under policy."""
