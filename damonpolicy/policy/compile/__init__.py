"""From models to compiled policies."""
