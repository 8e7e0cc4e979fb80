"""What `status`, `doctor` and live views show."""
