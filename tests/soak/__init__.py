"""
The nemesis: a seeded campaign that does everything at once to an agent and its broker.

    python -m tests.soak --minutes 30 --broker rabbitmq --seed 1

Work on a tree never rests long while the agent is killed, stopped and restarted, its kernel queue overflows,
its broker fails in every way it can, its state directory is full, its root is unmounted or mounted over, its
watches run out and its clock jumps. An independent reader of the real broker holds what the stream says; at
every rest it must be what the disk shows.
"""
