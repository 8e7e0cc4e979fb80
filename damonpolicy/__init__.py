"""Declarative, transactional policies for DAMON, the Linux kernel's data access monitor."""

__version__ = "0.1.0"
