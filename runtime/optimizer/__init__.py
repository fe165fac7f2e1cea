"""Choosing the best selection within budgets, by one integer program.

    single      ScalingOptimizer: one network
    choice      Choice: a selection and its predictions
    power       Power: energy, from measured power
    frontier    Frontier: the Pareto front over time, memory and accuracy; pareto: dominance
    figures     Figures: per-variant figures and exact sums; curve: the predictor's inverse
    problem     Problem: bounds and objective, checked exactly
    answer      the checked answer for one network; program: its integer program
    solver      runs CBC, or any other solver PuLP finds
    arguments   checks of numbers given by users
"""

from legodnn.runtime.optimizer.choice import Choice
from legodnn.runtime.optimizer.power import Power
from legodnn.runtime.optimizer.single import ScalingOptimizer

__all__ = ["Choice", "Power", "ScalingOptimizer"]
