"""What a program in a bundle may contain; checked when it is loaded.

    operators   the allowed operators, and the checks before and after loading
"""
