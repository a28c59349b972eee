"""The engine for sparse activity: compiled kernels on buffers that are laid out once.

A *plan* (:mod:`~spikeloom.runtime.engines.event.plan`) is the network as a list of calls of kernels for a
certain number of steps and samples; *rules* say how an operation becomes calls, *kernels* are what numba
compiles. What has no rule is computed by the operation's own definition.
"""
