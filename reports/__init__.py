"""From the files of runs to tables and a page; neither torch nor Ray is imported here."""
