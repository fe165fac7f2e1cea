"""Several networks at once, which share memory and cores.

    workload    Duty: a network, the frames it has to process, and what it may use for them
    optimizer   JointOptimizer: the best selections within budgets for all of them together
    choice      JointChoice: what was chosen, and what it comes to
    columns     the answer for several networks, checked, and its integer program
    shortlist   which points of their frontiers can be in that answer at all
    controller  JointController: follows budgets that change; decider: its decisions, one look at a time
    capacity    Room: what there is for the networks, as far as predictions go
"""

from legodnn.runtime.multi.choice import JointChoice
from legodnn.runtime.multi.controller import JointController
from legodnn.runtime.multi.optimizer import JointOptimizer
from legodnn.runtime.multi.workload import Duty

__all__ = ["Duty", "JointChoice", "JointController", "JointOptimizer"]
