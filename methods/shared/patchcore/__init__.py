"""PatchCore's memory bank, for the method and for those that add its score to their own."""
