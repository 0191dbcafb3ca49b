"""Tests of what no paper is about."""
