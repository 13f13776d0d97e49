"""Sequence layers that train on any machine: the selective scan of Mamba, the state-space duality of Mamba-2."""
