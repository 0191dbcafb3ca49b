"""The tests, and what they share: `from tests.shapes import check_shapes`."""
