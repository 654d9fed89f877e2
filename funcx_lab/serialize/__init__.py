"""Functions and values to bytes and back."""
