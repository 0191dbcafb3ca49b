r"""
---
title: Errors a person can act on
summary: One class of error, shown as one line, for whoever can do something about it.
topic: common
---

# Errors a person can act on
"""


class UserError(Exception):
    r"""
    ## One line, then the end

    A traceback speaks to whoever wrote the code. Where the cause lies outside the code (a flag, a
    file, a learning rate), we raise this with one line that names the place and the remedy, and
    `main` prints just that line and exits with status 1.

    Under `torchrun` every process may meet the same error. One that is `shared`, since all of
    them meet it alike, is told by the first process alone.
    """

    def __init__(self, message: str, shared: bool = False) -> None:
        super().__init__(" ".join(message.split()))
        self.shared = shared
