"""Text and progress on the terminal."""
