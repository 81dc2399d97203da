"""Floor 4: Flower's ServerApp and ClientApp, the local grid, the ledger and checkpoints."""
