"""The numbers of reports."""
