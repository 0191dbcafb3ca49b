"""Annotated papers."""
