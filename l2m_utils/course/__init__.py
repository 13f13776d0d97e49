"""The course: slides, assignments and grades."""
