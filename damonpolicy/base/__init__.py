"""What every floor uses: errors, diagnostics, units, limits, and our own files."""
