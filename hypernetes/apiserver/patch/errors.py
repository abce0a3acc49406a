"""What is wrong with a patch, before it is known for whom to say it."""


class MalformedPatch(ValueError):
    """It is no patch of its kind at all: answered with 400."""


class InapplicablePatch(ValueError):
    """It is well-formed, but doesn't fit this object: answered with 422."""
