"""The one exception for what a person can put right: a wrong file, field or setting."""


class InputError(ValueError):
    """A wrong input. The message is one sentence that names it and says what to do.

    Entry points print the message alone and exit with status 1; everything else is a bug and keeps
    its traceback.
    """
