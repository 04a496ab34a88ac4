"""The mutations by which the simulation is checked: they follow the code that they change."""

from __future__ import annotations

import pytest

from simulation.mutations import MUTATIONS, ROOT, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_finds_its_place(mutation: Mutation) -> None:
    """Once: another one would stay as it is."""
    assert (ROOT / mutation.path).read_text().count(mutation.old) == 1
    assert mutation.new != mutation.old
