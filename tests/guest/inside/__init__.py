"""Tests that run in a guest, on a real kernel, as root."""
