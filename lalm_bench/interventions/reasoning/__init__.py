"""What the model has thought, changed on purpose and given back for the final answer.

Reasoning comes from a finished run (`baseline`); the protocol says how it is given back.
"""
