"""What the supervisor says when it cannot start."""


class SetupError(Exception):
    """The platform cannot start or be reached; the message says what is wrong and what to do."""
