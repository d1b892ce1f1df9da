"""
What can go wrong, in the words that the docker command prints.
"""

from __future__ import annotations


class FlockerError(Exception):
    """
    The base; the text is a sentence for the user.
    """


class RequestError(FlockerError):
    """
    A request asks for what no dataset can be: its name, or where it stands.
    """


class StorageError(FlockerError):
    """
    The file system did not do what it was asked; with what its command said.
    """


class NoSpaceError(StorageError):
    """
    There is no room for what was to be written.
    """


class LedgerError(FlockerError):
    """
    It can't be said who owns what: nothing is created or moved meanwhile.
    """


class ConflictError(LedgerError):
    """
    Somebody else has changed a record since it was read.
    """


class InUseError(FlockerError):
    """
    A container uses the dataset, or a process has it open: it stays where it is.
    """


class PeerError(FlockerError):
    """
    Another node can't be reached, or its connection broke: it may have done what it was asked.
    """


class MoveError(FlockerError):
    """
    A dataset can't come here: what is here, or what came, is not what it has to be.
    """
