"""Deep-learning papers as annotated Python files."""
