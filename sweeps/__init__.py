"""How one sweep file becomes trials, and the trials get run."""
