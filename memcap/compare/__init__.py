"""From runs to knowledge: the capacity of each configuration, and what its numbers say together.

Everything here reads records or tables; nothing trains, and no torch is imported. The parts, in their order: ``frame``
(one row per run), ``axes`` (what is compared), ``seed_split``, ``capacity``, ``curves``, ``fits``, ``jamming``,
``bits_ledger``, ``references``, ``alarms``, ``verify``; ``comparison`` does all of it for the command. What the figures
of ``report`` and of ``memcap.plot`` have in common: ``over_samples``, ``stability``, ``optimum``, ``histories``.
``wandb_source`` makes the table from W&B, ``tracked`` logs a comparison there.
"""
