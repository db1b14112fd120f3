"""
Kills at named places: the agent, a real process under load, is killed by SIGKILL there, again and again.

    python -m tests.failpoints --point all --seeds 3 --broker rabbitmq

Nothing of this stands in the agent: `points` wraps methods at run time, in its process.
"""
