"""Who wins, how sure that is, at what cost, and what is missing.

boards      one leaderboard per data set, metric, subset and number of shots, the first one in front
Board       its methods in order, over which units, and what was tested
Standing    one method on it
order       methods by the first board, for tables that have no number of their own to go by
"""

from reports.leaderboard.board import boards, order
from reports.leaderboard.standing import Board, Standing

__all__ = ["Board", "Standing", "boards", "order"]
