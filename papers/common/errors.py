r"""
---
title: Errors
summary: What a person can cause and mend is said in one line.
topic: common
---

# Errors

A person who mistypes an option or lacks a file needs one line that names the place and
the remedy. A traceback is for our own mistakes.
"""


class UserError(Exception):
    r"""
    ## One line

    The message names what is wrong, where, and what to do. `main` prints it alone and
    exits with status 1.
    """
