"""Choosing: the best selections within budgets, by one integer program.

    single      ScalingOptimizer: one network
    choice      Choice: what was chosen, and what it is predicted to need
    power       Power: energy, from the user's figures
    frontier    every trade between time, memory and accuracy that nothing beats; pareto: what beats what
    figures     a network's figures and exact sums; curve: the predictor's curve turned around
    problem     what is asked for, and whether an answer is one
    answer      the answer for one network, checked; program: its integer program
    solver      whatever solves an integer program here
    arguments   numbers that users give, checked
"""

from legodnn.runtime.optimizer.choice import Choice
from legodnn.runtime.optimizer.power import Power
from legodnn.runtime.optimizer.single import ScalingOptimizer

__all__ = ["Choice", "Power", "ScalingOptimizer"]
