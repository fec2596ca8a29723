"""Which trials start next, on which node, and with how much of it: decided here, without Ray.

The cluster is told of as plain `Node`s; what was given out is accounted for here, so that every answer fits.
"""

from sweeps.dispatch.begin import dispatcher_for
from sweeps.dispatch.costs import Costs
from sweeps.dispatch.dispatcher import Dispatcher
from sweeps.dispatch.memory import Kinds
from sweeps.dispatch.places import Assignment, Node
from sweeps.dispatch.shares import Shares

__all__ = ["Assignment", "Costs", "Dispatcher", "Kinds", "Node", "Shares", "dispatcher_for"]
