"""The exception for errors the user can fix: a wrong file, field or setting."""


class InputError(ValueError):
    """A wrong input; the message is one sentence that names it and says what to do.

    Commands print the message alone and exit with status 1. Any other exception is a bug and keeps
    its traceback.
    """
