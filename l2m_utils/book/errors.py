"""The one error of the build."""


class BuildError(RuntimeError):
    """Something that the person who builds can mend; its text is the whole message."""
