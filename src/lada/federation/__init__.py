"""Flower's ServerApp and ClientApp, the local grid, the ledger and checkpoints."""

import os

# Flower reads these when it is imported or first used. A run reports nothing unless the user asks for it.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
