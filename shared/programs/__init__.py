"""What a program in a bundle may contain; the device asks when it opens one.

    operators   the list of allowed operators, and the checks before and after a program is loaded
"""
