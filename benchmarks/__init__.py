"""How fast it is: a command each, ours beside others in one run.

    python -m benchmarks.train_step --help
"""
