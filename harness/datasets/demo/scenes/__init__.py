"""The five categories of the demo data, one scene each."""
