"""Several networks that share memory and cores.

    workload    Duty: the workload of one network, its rate of frames, deadline and weight
    optimizer   JointOptimizer: the best selections within budgets for all of them together
    choice      JointChoice: the choices and their sums
    columns     the joint answer, checked in exact arithmetic, and its integer program
    shortlist   the points of frontiers that can be in the best answer, by Lagrange bounds
    controller  JointController: their control loop; decider: one decision per iteration
    capacity    Capacity: memory, rates and deadlines as bounds on predictions
"""

from legodnn.runtime.multi.choice import JointChoice
from legodnn.runtime.multi.controller import JointController
from legodnn.runtime.multi.optimizer import JointOptimizer
from legodnn.runtime.multi.workload import Duty

__all__ = ["Duty", "JointChoice", "JointController", "JointOptimizer"]
