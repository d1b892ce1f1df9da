"""
What a container runs, made of its image and of the request, as the engine makes it.

Sans-I/O: entry points and commands in, the same out.
"""

from __future__ import annotations

from attrs import frozen

__all__ = ["Command"]


@frozen
class Command:
    """
    The two halves of the line that a container runs: its arguments may be put in place of ``cmd``.
    """

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()

    @property
    def line(self) -> tuple[str, ...]:
        """
        Program and arguments; empty where there is nothing to run, which the engine refuses.
        """
        return self.entrypoint + self.cmd

    def overridden(
        self, entrypoint: tuple[str, ...] | None, cmd: tuple[str, ...] | None
    ) -> Command:
        """
        What the engine runs of an image with this command.

        An entry point drops the command of the image; an empty one drops the image's entry point
        alone; and ``[""]``, the ``--entrypoint ""`` of the docker command, drops both: moby
        ``merge`` in ``daemon/commit.go``, ``mergeAndVerifyConfig`` in ``daemon/container.go``.

        Args:
            entrypoint: The request's, or None for null.
            cmd: The request's. Null and empty are the same here.
        """
        cmd = cmd or (() if entrypoint else self.cmd)
        entrypoint = self.entrypoint if entrypoint is None else entrypoint
        return Command(() if entrypoint == ("",) else entrypoint, cmd)

    def without(self, program: str) -> Command:
        """
        The command without a program that runs it, however often that is there.

        It may be at the beginning of ``cmd``, where tools give the whole line of a container to a
        new one.
        """
        entrypoint, cmd = self.entrypoint, self.cmd
        while entrypoint[:1] == (program,):
            entrypoint = entrypoint[1:]
        while not entrypoint and cmd[:1] == (program,):
            cmd = cmd[1:]
        return Command(entrypoint, cmd)
