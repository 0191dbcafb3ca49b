"""What no paper is about: the run, its data, its records."""
