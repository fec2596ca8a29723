r"""`cells.tex`: every number of a report as a macro, so that a text that names it never goes stale.

After `\input{cells}`, `\ladder{clip_lad/4/juice_bottle/auroc}` prints the number as the tables do, with what
has to be said of it; `\ladderpm`, `\ladderstd` and `\laddern` its spread and its seeds; `\laddervalue`
(expandable, for other packages) the bare number. An unknown key, and a number that is incomplete, is an error
in print and a warning in the log.
"""

from collections.abc import Iterator, Mapping

from reports.render.escapes import escaped
from reports.tables.table import Cell

# \detokenize makes every character of a key a plain one, whatever packages have made of it: on both sides.
# One control sequence per key holds all that is known of it; what is wanted is taken out by expansion alone.
# Ends of lines are nothing meanwhile: in the middle of a paragraph each would be a space.
_HEAD = r"""\makeatletter\edef\ladder@eol{\the\endlinechar}\endlinechar=-1\relax%
\providecommand\ladder@def[5]{\expandafter\def\csname ladder@@\detokenize{#1}\endcsname{{#2}{#3}{#4}{#5}}}
\providecommand\ladder@lacks[2]{\expandafter\def\csname ladder@lacks@@\detokenize{#1}\endcsname{#2}}
\providecommand\ladder@take[2]{\expandafter#2#1}
\providecommand\ladder@get[2]{\expandafter\ladder@take\csname ladder@@\detokenize{#2}\endcsname#1}
\providecommand\ladder@has[1]{%
  \ifcsname ladder@@\detokenize{#1}\endcsname\expandafter\@firstoftwo\else\expandafter\@secondoftwo\fi}
\providecommand\ladder@why[1]{\ifcsname ladder@lacks@@\detokenize{#1}\endcsname
  \csname ladder@lacks@@\detokenize{#1}\endcsname\else unknown\fi}
\providecommand\ladder@missing[1]{\@latex@warning{ladder: `\detokenize{#1}' is \ladder@why{#1}}%
  \textbf{[}\texttt{\detokenize{#1}}\textbf{: \ladder@why{#1}]}}
\providecommand\ladder@if[2]{\if\relax\detokenize{#1}\relax\else#2\fi}
\providecommand\ladder@mean[4]{#1}
\providecommand\ladder@shown[4]{#1\ladder@if{#4}{\laddermark{#4}}}
\providecommand\ladder@spread[4]{#1\ladder@if{#2}{\,$\pm$\,#2}\ladder@if{#4}{\laddermark{#4}}}
\providecommand\ladder@std[4]{\ladder@if{#2}{#2}}
\providecommand\ladder@seeds[4]{#3}
\providecommand\ladder@print[2]{\ladder@has{#2}{\ladder@get#1{#2}}{\ladder@missing{#2}}}
\providecommand\laddermark[1]{\textsuperscript{[#1]}}
\providecommand\laddervalue[1]{\ladder@has{#1}{\ladder@get\ladder@mean{#1}}{??}}
\DeclareRobustCommand\ladder[1]{\ladder@print\ladder@shown{#1}}
\DeclareRobustCommand\ladderpm[1]{\ladder@print\ladder@spread{#1}}
\DeclareRobustCommand\ladderstd[1]{\ladder@print\ladder@std{#1}}
\DeclareRobustCommand\laddern[1]{\ladder@print\ladder@seeds{#1}}
"""


def render(numbers: Mapping[str, Cell], title: str, headline: str) -> str:
    r"""The file.

    Args:
        numbers: by key (`reports.numbers`).
        title: of the report, `\ladderrun`.
        headline: how far its runs are, `\ladderstate`.
    """
    about = [rf"\def\ladderrun{{{escaped(title)}}}", rf"\def\ladderstate{{{escaped(headline)}}}"]
    return "\n".join(
        [_HEAD + about[0], about[1], *_lines(numbers), r"\endlinechar=\ladder@eol\relax\makeatother", ""]
    )


def _lines(numbers: Mapping[str, Cell]) -> Iterator[str]:
    for key, cell in numbers.items():
        if cell.complete:
            said = "; ".join(map(escaped, cell.marks))
            yield rf"\ladder@def{{{key}}}{{{cell.text}}}{{{cell.spread}}}{{{cell.n}}}{{{said}}}"
        else:
            yield rf"\ladder@lacks{{{key}}}{{{escaped(cell.text or f'{cell.share} seeds')}}}"
