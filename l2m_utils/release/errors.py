"""The one error of a release."""


class ReleaseError(ValueError):
    """Something that the person who releases or checks can mend; its text is the whole message."""
