"""All SQL: one writer with group commit."""
