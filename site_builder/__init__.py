"""A literate-programming generator: annotated Python files in, a side-by-side site out."""
