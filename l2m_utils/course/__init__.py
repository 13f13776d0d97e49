"""The course: slides, copies to hand out, proven checks, drawn assignments and grades."""
