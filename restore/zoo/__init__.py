"""Shipped weights: what they say about themselves (`card`), where they lie (`resolver`), reading and writing files of
them (`weights`), and loading them by name for a task (`loading`).

Importing this package imports no torch.
"""

from restore.zoo.loading import load as load
