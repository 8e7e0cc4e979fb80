"""The policy language: from text to compiled policies, and back."""
