"""The jobs of the service."""
