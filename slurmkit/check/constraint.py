"""Slurm's ``--constraint`` language: which features it names, and which nodes it accepts."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

_TOKEN = re.compile(r"\s*(?:\*\s*(\d+)|([&|,()\[\]])|([^&|,()\[\]*\s]+))")


class _Token(NamedTuple):
    """One of: the number of nodes behind a star, an operator or bracket, a feature."""

    number: str
    sign: str
    name: str


@dataclass(frozen=True)
class Constraint:
    """A parsed expression.

    Attributes:
        text: as written.
        names: the features it names, in order.
        groups: what one node must have for the simple forms: any of the features of every group.
            Empty when the expression is a count or mixes operators, where any node may fit.
        counts: (feature, nodes that must have it), from ``[rack1*2&rack2*4]``.
        same: alternatives of ``[a|b]``, one of which all nodes share; empty for other forms.
    """

    text: str
    names: tuple[str, ...]
    groups: tuple[frozenset[str], ...] = ()
    counts: tuple[tuple[str, int], ...] = ()
    same: tuple[str, ...] = ()

    def accepts(self, features: Iterable[str]) -> bool:
        """Tell whether a node with these features can be part of the job.

        Never False for a node that Slurm would take: what is not understood accepts every node.
        """
        have = frozenset(features)
        return all(group & have for group in self.groups)


def parse(text: str) -> Constraint:
    """Return what an expression says; sbatch(1), ``--constraint``, describes the language."""
    tokens = [_Token(*match.groups("")) for match in _TOKEN.finditer(text)]
    names = tuple(dict.fromkeys(token.name for token in tokens if token.name))
    counts = tuple(
        (before.name, int(token.number))
        for before, token in pairwise(tokens)
        if token.number and before.name
    )
    if not names:
        return Constraint(text, ())
    signs = [token.sign for token in tokens if token.sign]
    operators = {sign for sign in signs if sign in "&|,"}
    brackets = [sign for sign in signs if sign in "()[]"]
    if any(token.number for token in tokens):
        return Constraint(text, names, counts=counts)
    if not brackets and operators <= {"&", ","}:
        return Constraint(text, names, tuple(frozenset({name}) for name in names))
    if operators == {"|"} and not brackets:
        return Constraint(text, names, (frozenset(names),))
    if operators == {"|"} and brackets == ["[", "]"] and tokens[0].sign and tokens[-1].sign:
        return Constraint(text, names, (frozenset(names),), same=names)
    return Constraint(text, names)
