"""From a report to Markdown, LaTeX, CSV and HTML."""
