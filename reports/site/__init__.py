"""One static site over many runs: who leads under which protocol, methods, runs, and what has changed.

digest      what a site keeps of one run, so that a run that stays as it is is read once
shelf       where that lies: a hidden folder of the site
gathering   from digests to leaderboards
changes     what is new since the site was built before
pages       from all of it to files
command     `python -m reports site`
"""
