"""
YAML text as nodes that know their line, so that a mistake in it can be pointed at.

Sans-I/O: text in, nodes and sentences out. Nothing is ever constructed from a tag: what reads the
nodes takes mappings, lists and plain values, and has no use for more.
"""

from __future__ import annotations

import yaml
from attrs import frozen

MAX_CHARACTERS = 256 * 1024
"""Far more than a configuration needs, and still read in a second or two."""

MAX_DEPTH = 20
"""The composer of PyYAML calls itself for each level, and would end in a RecursionError."""

_TAG = "tag:yaml.org,2002:"


class YamlProblem(Exception):
    """
    The text is not YAML, or is YAML that no configuration needs.
    """

    def __init__(self, line: int | None, sentence: str) -> None:
        super().__init__(sentence)
        self.line = line
        self.sentence = sentence


@frozen
class Place:
    """
    A node of the document, with the keys that lead to it.
    """

    node: yaml.Node
    keys: tuple[str, ...] = ()

    @property
    def line(self) -> int:
        return _line(self.node.start_mark)

    @property
    def is_null(self) -> bool:
        return self.node.tag == _TAG + "null"

    @property
    def scalar(self) -> str | None:
        """
        The text of a plain value, whichever type YAML would give it, or None.

        ``on``, ``no`` and ``1`` are as good as names as ``weave`` is.
        """
        if not isinstance(self.node, yaml.ScalarNode) or self.is_null or not self._is_standard:
            return None
        return str(self.node.value)

    @property
    def number(self) -> int | float | None:
        """
        The number that is written here, or None.
        """
        if not isinstance(self.node, yaml.ScalarNode):
            return None
        constructor = yaml.constructor.SafeConstructor()
        try:
            if self.node.tag == _TAG + "int":
                return int(constructor.construct_yaml_int(self.node))
            if self.node.tag == _TAG + "float":
                return float(constructor.construct_yaml_float(self.node))
        except ValueError:
            pass  # such as "!!int x", or more digits than Python converts
        return None

    @property
    def items(self) -> list[Place] | None:
        """
        What a list holds, or None where this is no list.
        """
        if not isinstance(self.node, yaml.SequenceNode) or not self._is_standard:
            return None
        return [Place(item, self.keys) for item in self.node.value]

    @property
    def entries(self) -> list[tuple[Place, Place]] | None:
        """
        The keys of a mapping, repeated ones too, and what they hold; None where this is no mapping.
        """
        if not isinstance(self.node, yaml.MappingNode) or not self._is_standard:
            return None
        return [
            (Place(key, self.keys), Place(value, (*self.keys, _key_text(key))))
            for key, value in self.node.value
        ]

    @property
    def _is_standard(self) -> bool:
        """
        Whether the tag is one that YAML itself resolves, and not the writer's own.
        """
        return str(self.node.tag).startswith(_TAG) and self.node.tag not in (
            _TAG + "set",
            _TAG + "omap",
            _TAG + "pairs",
            _TAG + "binary",
        )


def compose(text: str) -> Place | None:
    """
    Reads one YAML document.

    Returns:
        The root of the document, or None where there is none.

    Raises:
        YamlProblem: The text is no YAML document, or too long, or too deep.
    """
    if len(text) > MAX_CHARACTERS:
        raise YamlProblem(None, f"the file has more than {MAX_CHARACTERS} characters")
    try:
        node = _Loader(text).get_single_node()
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        raise YamlProblem(line, f"not YAML: it has the character {exc.character:#x} in it") from exc
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        where = f" ({exc.context})" if exc.context else ""
        marked_line = None if mark is None else _line(mark)
        raise YamlProblem(marked_line, f"not YAML: {exc.problem}{where}") from exc
    except (ValueError, OverflowError) as exc:
        # PyYAML lets chr() refuse "\UFFFFFFFF", and int() refuse a long version number.
        raise YamlProblem(None, f"not YAML: {exc}") from exc
    return None if node is None else Place(node)


def _key_text(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else "?"


def _line(mark: yaml.Mark) -> int:
    return int(mark.line) + 1


class _Loader(yaml.SafeLoader):
    """
    The composer of PyYAML, with a bound on the depth.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(
                None, None, f"more than {MAX_DEPTH} levels deep", self.peek_event().start_mark
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node
