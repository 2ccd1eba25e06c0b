"""What the client's own threads raise when its service has gone is no news; what others raise is."""

from __future__ import annotations

import threading

import pytest
from wandb.sdk.lib import runid

from memcap.records import wandb_client


def test_only_the_clients_threads_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: said.append(args.thread.name))
    monkeypatch.setattr(wandb_client, "_hushed", False)
    wandb_client._hush()
    own = threading.Thread(target=lambda: 1 / 0, name="own")
    named = threading.Thread(target=lambda: 1 / 0, name="wandb-loop")
    # Its target is a function of the client, as that of the thread that asks for the network's status.
    started = threading.Thread(target=runid.generate_id, args=("no length",), name="NetStatThr")
    for thread in (own, named, started):
        thread.start()
        thread.join()
    assert said == ["own"]
