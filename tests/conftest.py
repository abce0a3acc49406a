"""For all tests: an example of hypothesis may take what it takes, since the machine may be busy with other things."""

from hypothesis import settings

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")
