"""Everything that only a card can tell, most important first: `python -m benchmarks.gpu`."""
